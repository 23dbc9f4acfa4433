"""The family `files`: every file that pacos reads, damaged, and changed in ways that mean nothing."""

import json
import re
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Literal

from benchmarks.fuzz.mutations import as_json, damaged_bytes, damaged_rows, mutated
from benchmarks.fuzz.outcomes import Failure, Outcome, Tried, attempt, run_cases

Form = Literal["rows", "list", "object", "text", "safetensors", "bytes"]

# Shares of cases that change bytes, and that mean nothing.
BYTES, HARMLESS = 0.35, 0.15

BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Format:
    """A file that is read: where a valid one lies, and how pacos reads it.

    `read` gives a value by which two readings are compared. `open_keys`: keys that the format does not know are passed
    over. `foreign`: a library reads it, or no user edits it, and it takes no byte-order mark. `whole`: its rows are
    checked against one another, so that errors need not name a line. `slow` formats take part in every fifth round.
    """

    name: str
    path: Path
    form: Form
    read: Callable[[], Any]
    open_keys: bool = False
    foreign: bool = False
    whole: bool = False
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """A file's content, how it was made, and whether it must read as the valid file does."""

    content: bytes
    how: str
    harmless: bool = False
    in_rows: bool = False


class FormatFuzzer:
    """Makes and runs the cases of one format."""

    def __init__(self, format: Format) -> None:
        """Raises ValueError where the valid file is not read."""
        self.format = format
        self.valid = format.path.read_bytes()
        first = attempt(format.read)
        if first.kind != "read":
            raise ValueError(f"{format.name}: the valid file is not read: {first.detail}")
        self.expected = first.value

    def case(self, draw: Random) -> Case:
        kind = draw.random()
        if kind < HARMLESS and (harmless := self._harmless(draw)):
            return Case(*harmless, harmless=True)
        if kind < HARMLESS + BYTES or self.format.form in ("text", "bytes"):
            return Case(*damaged_bytes(self.valid, draw))
        if self.format.form == "rows":
            return Case(*damaged_rows(_rows(self.valid), draw), in_rows=True)
        if self.format.form == "safetensors":
            return Case(*_damaged_header(self.valid, draw))
        changed, how = mutated(json.loads(self.valid), draw)
        return Case(as_json(changed, draw), how)

    def _harmless(self, draw: Random) -> tuple[bytes, str] | None:
        form = self.format.form
        if form in ("safetensors", "bytes"):
            return None
        changes: list[tuple[bytes, str]] = [(self.valid.rstrip(b"\n"), "no newline at the end")]
        if not self.format.foreign:
            changes.append((self.valid if self.valid.startswith(BOM) else BOM + self.valid, "byte-order mark"))
        if form in ("rows", "list", "object", "text"):
            changes += [
                (re.sub(rb"(?<!\r)\n", b"\r\n", self.valid), "Windows newlines"),
                (self.valid + b"\n", "an empty line at the end"),
            ]
        if form == "rows":
            rows = _rows(self.valid)
            changes += [
                (b"".join(as_json(row, Random(1)) + b"\n" for row in rows), "written anew"),
                (self.valid.replace(b"\n", b"\n\n \n"), "blank lines"),
            ]
            if self.format.open_keys:
                more = [row | {"zz_unknown": [1, {"a": None}]} for row in rows]
                changes.append((b"".join(as_json(row) + b"\n" for row in more), "an unknown key"))
        if form in ("list", "object"):
            value = json.loads(self.valid)
            changes.append((json.dumps(value, indent=4, ensure_ascii=False).encode(), "written anew"))
            if self.format.open_keys and isinstance(value, dict):
                changes.append((as_json(value | {"zz_unknown": [1, {"a": None}]}), "an unknown key"))
            if isinstance(value, dict):
                changes.append((as_json(dict(reversed(value.items()))), "keys in another order"))
        return draw.choice(changes)

    def run(self, case: Case) -> tuple[Outcome, str]:
        """(what became of the case, what is wrong with that or "")"""
        self.format.path.write_bytes(case.content)
        try:
            outcome = attempt(self.format.read)
        finally:
            self.format.path.write_bytes(self.valid)
        return outcome, self._wrong(case, outcome)

    def _wrong(self, case: Case, outcome: Outcome) -> str:
        if outcome.kind == "failed":
            return outcome.detail
        if case.harmless:
            if outcome.kind == "refused":
                return f"a change that means nothing is refused: {outcome.detail}"
            return "" if _same(outcome.value, self.expected) else f"reads something else: {str(outcome.value)[:1000]}"
        return self._unplaced(case, outcome.detail) if outcome.kind == "refused" else ""

    def _unplaced(self, case: Case, message: str) -> str:
        """What an error's place lacks: the file (or its folder), or of a row its line; "" if nothing."""
        path = self.format.path
        if str(path) not in message and str(path.parent) not in message:
            return f"the error does not name the file: {message}"
        if case.in_rows and not self.format.whole and not re.search(rf"{re.escape(str(path))}:(?:row )?\d", message):
            return f"the error does not name the line: {message}"
        return ""


def _same(one: Any, other: Any) -> bool:
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(other, sort_keys=True, default=str)


def _rows(content: bytes) -> list[Any]:
    return [json.loads(line) for line in content.decode("utf-8-sig").split("\n") if line.strip()]


def _damaged_header(content: bytes, draw: Random) -> tuple[bytes, str]:
    """A safetensors file with another header: a part of it changed, or its length."""
    size = int.from_bytes(content[:8], "little")
    header, data = content[8 : 8 + size], content[8 + size :]
    if draw.random() < 0.2:
        said = draw.choice((0, 1, size - 1, size + 1, len(content), 2**31, 2**63, 2**64 - 1))
        return said.to_bytes(8, "little") + header + data, "length of the header"
    changed, how = mutated(json.loads(header), draw)
    written = as_json(changed, draw)
    return len(written).to_bytes(8, "little") + written + data, f"header: {how}"


def fuzz_files(cases: int, seed: int, names: list[str] | None = None) -> tuple[dict[str, int], list[Failure]]:
    """Run `cases` cases over all formats in turn, or those whose names begin with one of `names`."""
    from benchmarks.fuzz.formats import formats

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pacos-fuzz-")))
        found = [one for one in formats(folder) if not names or one.name.startswith(tuple(names))]
        fuzzers = [FormatFuzzer(one) for one in found]
        turns = [one for turn in range(5) for one in fuzzers if not (one.format.slow and turn)]
        return run_cases("files", cases, seed, [(one.format.name, partial(_tried, one)) for one in turns])


def _tried(fuzzer: FormatFuzzer, draw: Random) -> Tried:
    case = fuzzer.case(draw)
    outcome, wrong = fuzzer.run(case)
    return Tried(outcome, wrong, case.content, case.how)
