"""The state of a pool on disk, so that a long run resumes without judging its tasks again.

`dataset/.novelty/` has the novelty index, the counts, and what they were computed from: filters, seeds, known tasks and
the answers that were committed, all by hash, and how much of `dataset.jsonl` and `rejected.jsonl` was written by then.
Where one of these is not what it was, everything is computed from the answers again, and said.
"""

import dataclasses
import hashlib
import json
import logging
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pacos.config import FiltersConfig
from pacos.errors import RunError
from pacos.generate.stats import Tally
from pacos.novelty.index import NoveltyIndex
from pacos.novelty.snapshot import load_index, read_about, save_index
from pacos.records import Response, Task

log = logging.getLogger("pacos")

# A snapshot is written when so many tasks were accepted since the last.
EVERY = 20_000

FILES = ("dataset.jsonl", "rejected.jsonl")
_BLOCK = 1 << 20


class Earlier(NamedTuple):
    """The answers of a run so far, and the limits (JSON) that might have stopped it before the last of them."""

    answers: Mapping[int, Response]
    limits: Any = None


@dataclass(frozen=True, slots=True)
class Restored:
    """What a snapshot gave: the counts, and how many tasks were accepted after each committed answer."""

    tally: Tally
    sizes: "array[int]"


@dataclass(slots=True)
class Written:
    """How much of a file has been hashed."""

    size: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)

    def read_on(self, path: Path, end: int | None = None) -> None:
        """Hash what the file has beyond that, up to `end`."""
        with path.open("rb") as content:
            content.seek(self.size)
            while block := content.read(_BLOCK if end is None else min(_BLOCK, end - self.size)):
                self.sha256.update(block)
                self.size += len(block)


class PoolSnapshot:
    """Saves the state of a pool in `folder` (a dataset's) after a commit, and restores it."""

    def __init__(
        self, folder: Path, filters: FiltersConfig, compared: Sequence[tuple[str, Task]], earlier: Earlier
    ) -> None:
        self._folder = folder
        self._answers = earlier.answers
        self._path = folder / ".novelty"
        texts = [[id, task.instruction] for id, task in compared]
        base = json.dumps([filters.model_dump(mode="json"), earlier.limits, texts]).encode()
        self._chain = hashlib.sha256(base)
        self._written = {name: Written() for name in FILES}
        self._sizes: array[int] = array("q")
        self._last_saved = 0

    def restore(self, index: NoveltyIndex, target: int | None) -> Restored | None:
        """Fill an empty index with the tasks of the answers that were committed; None without a snapshot that fits, and
        has fewer than `target` tasks: the index is not to be used then.

        `dataset.jsonl` and `rejected.jsonl` end where they did at that commit.
        """
        about = read_about(self._path)
        if about is None:
            return None
        try:
            return self._restored(about, index, target)
        except (LookupError, TypeError, ValueError, OSError) as damage:
            log.warning("%s: the index is damaged (%r) and is made anew", self._path, damage)
            return None

    def _restored(self, about: dict[str, Any], index: NoveltyIndex, target: int | None) -> Restored | None:
        chain = self._chain.copy()
        for request in range(about["commits"]):
            if request not in self._answers:
                break
            _update(chain, self._answers[request])
        written = {name: Written() for name in FILES}
        for name in FILES:
            written[name].read_on(self._folder / name, about["files"][name]["size"])
        same = all(written[name].sha256.hexdigest() == about["files"][name]["sha256"] for name in FILES)
        small_enough = target is None or about["accepted"] < target
        if chain.hexdigest() != about["sha256"] or not same or not small_enough:
            log.info("%s: what the index was made from has changed; it is made anew", self._path)
            return None
        tally = _tally(about["tally"])
        arrays = load_index(index, self._path)
        if arrays is None:
            return None
        tally.nearest = array("d", arrays["nearest"].tobytes())
        tally.words = {part: array("I", arrays[part].tobytes()) for part in tally.words}
        sizes = array("q", arrays["sizes"].tobytes())
        last_saved = sizes[-1]
        for name in FILES:
            with (self._folder / name).open("r+b") as content:
                content.truncate(written[name].size)
        self._chain, self._written = chain, written
        self._sizes, self._last_saved = sizes, last_saved
        return Restored(tally, sizes)

    def committed(self, answer: Response, count: int) -> None:
        """Note that an answer was committed, after which `count` tasks are accepted."""
        _update(self._chain, answer)
        self._sizes.append(count)

    @property
    def is_due(self) -> bool:
        """Whether enough was accepted since the last snapshot."""
        return bool(self._sizes) and self._sizes[-1] - self._last_saved >= EVERY

    @property
    def is_due_at_the_end(self) -> bool:
        """Whether anything was accepted since the last snapshot, in a pool that takes long to judge again."""
        return bool(self._sizes) and self._sizes[-1] > max(self._last_saved, EVERY // 4)

    def save(self, index: NoveltyIndex, tally: Tally) -> None:
        """Write the state after the last commit; a run goes on where that cannot be done, which is said."""
        self._last_saved = self._sizes[-1]
        try:
            self._save(index, tally)
        except RunError as failure:
            log.warning("resuming will take longer, as the pool's state could not be saved: %s", failure)

    def _save(self, index: NoveltyIndex, tally: Tally) -> None:
        for name, written in self._written.items():
            written.read_on(self._folder / name)
        counts = {one.name: getattr(tally, one.name) for one in dataclasses.fields(tally)}
        arrays: dict[str, Any] = {
            "sizes": np.array(self._sizes, dtype=np.int64),
            "nearest": np.array(counts.pop("nearest"), dtype=np.float64),
            **{part: np.array(lengths, dtype=np.uint32) for part, lengths in counts.pop("words").items()},
        }
        about = {
            "sha256": self._chain.hexdigest(),
            "commits": len(self._sizes),
            "accepted": self._sizes[-1],
            "files": {
                name: {"size": written.size, "sha256": written.sha256.hexdigest()}
                for name, written in self._written.items()
            },
            "tally": counts | {"recent": list(counts["recent"])},
        }
        save_index(index, self._path, about, arrays)


def _tally(values: Mapping[str, Any]) -> Tally:
    tally = Tally(**{**values, "classification": Counter(values["classification"])})
    tally.rejected = Counter(values["rejected"])
    tally.recent = Tally().recent
    tally.recent.extend(values["recent"])
    return tally


def _update(chain: Any, answer: Response) -> None:
    chain.update(json.dumps([answer.request, answer.text, answer.finish_reason]).encode())
