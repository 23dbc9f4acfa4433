"""Runs one case within bounds of time and memory, and says whether its outcome is one that a user can live with."""

import contextlib
import io
import json
import resource
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from pacos.errors import PacosError
from pacos.results import plain

LONGEST_CASE_S = 5.0  # of this process's own time, so that a busy machine changes nothing
LONGEST_WAIT_S = 60.0
MOST_BYTES = 1 << 30
# An error is read in a terminal.
LONGEST_MESSAGE = 3_000


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case: `read` with a value, `refused` with an error's text, or `failed` with what is wrong."""

    kind: str
    value: Any = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """A case whose outcome is wrong; `content` reproduces it."""

    family: str
    subject: str
    how: str
    what: str
    content: bytes
    seed: str

    def write(self, folder: Path) -> Path:
        """Write the case and what is wrong with it; return the path of the case."""
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{self.family}-{len(list(folder.glob(f'{self.family}-*.txt'))):04d}"
        (folder / f"{name}.case").write_bytes(self.content)
        text = f"{self.subject}\nseed: {self.seed}\nchanged: {self.how}\n\n{self.what}\n"
        (folder / f"{name}.txt").write_text(text, encoding="utf-8", errors="backslashreplace")
        return folder / f"{name}.case"


class Tried(NamedTuple):
    """A case that was run: what became of it, what is wrong with that or "", its content, and how that was made."""

    outcome: Outcome
    wrong: str
    content: bytes
    how: str


def run_cases(
    family: str, cases: int, seed: int, subjects: Sequence[tuple[str, Callable[[Random], Tried]]]
) -> tuple[dict[str, int], list[Failure]]:
    """Run `cases` cases over the subjects (name, and what makes and runs a case) in turn."""
    counts = {"read": 0, "refused": 0, "failed": 0}
    failures: list[Failure] = []
    for number in range(cases):
        name, run = subjects[number % len(subjects)]
        key = f"{seed}:{family}:{name}:{number}"
        outcome, wrong, content, how = run(Random(key))
        counts["failed" if wrong else outcome.kind] += 1
        if wrong:
            failures.append(Failure(family, name, how, wrong, content, key))
    return counts, failures


class TooSlow(BaseException):
    """A case took longer than LONGEST_CASE_S; no `except Exception` on the way may take it for something else."""


def attempt(read: Callable[[], Any]) -> Outcome:
    """Call a reader. An exception that is no PacosError, and a value that cannot be written, are failures."""
    try:
        with _bounded(), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            value = plain(read())
    except PacosError as refusal:
        return _refusal(str(refusal))
    except TooSlow:
        return Outcome("failed", detail=f"took more than {LONGEST_CASE_S:g} s")
    except Exception as bug:
        place = _own_frame(bug)
        return Outcome("failed", detail=f"{type(bug).__name__} at {place}: {str(bug)[:300]}\n{traceback.format_exc()}")
    return Outcome("failed", detail=wrong) if (wrong := unwritable(value)) else Outcome("read", value)


def unwritable(value: Any) -> str:
    """Why a value cannot be written as JSON in UTF-8 that any program reads; "" if it can."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False, default=str).encode("utf-8")
    except UnicodeEncodeError as broken:
        return f"reads half a character: {broken}"
    except ValueError as broken:
        return f"reads a number that JSON does not have: {broken}"
    except RecursionError:
        return "reads a value that is nested too deeply to be written"
    return ""


def _refusal(text: str) -> Outcome:
    if len(text) > LONGEST_MESSAGE:
        return Outcome("failed", detail=f"an error of {len(text):,} characters: {text[:200]}…")
    return Outcome("refused", detail=text)


def _own_frame(bug: BaseException) -> str:
    """file:line of the innermost frame in pacos, the same for all cases of one bug."""
    frames = [frame for frame in traceback.extract_tb(bug.__traceback__) if "site-packages" not in frame.filename]
    own = [frame for frame in frames if "benchmarks" not in Path(frame.filename).parts]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "?"


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    """Raise TooSlow after LONGEST_CASE_S of work or LONGEST_WAIT_S by the clock, and MemoryError beyond MOST_BYTES more
    than are mapped now."""

    def stop(*_: object) -> None:
        raise TooSlow

    before = {number: signal.signal(number, stop) for number in (signal.SIGALRM, signal.SIGPROF)}
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, limits[1]))
    signal.setitimer(signal.ITIMER_PROF, LONGEST_CASE_S)
    signal.setitimer(signal.ITIMER_REAL, LONGEST_WAIT_S)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_AS, limits)
