"""Lists of the rows that have a key, as flat arrays: segments that never change, and a stack of them that grows."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.arrays import places_of_runs

Keys = NDArray[np.uint32]
Rows = NDArray[np.int32]

# Segments of this many postings and more are not merged and give up their keys.
_FROZEN = 1 << 20

# Segments whose sizes are within this factor of one another are merged once there are as many.
_FANOUT = 4


class Segment(NamedTuple):
    """Rows in buckets by the first bits of their keys: bucket b is rows[starts[b] : starts[b + 1]], ascending by key.

    Without `keys` (empty) a bucket's rows are found under any of its keys: more rows than asked for, never fewer.
    """

    shift: int
    starts: NDArray[np.uint32]
    rows: Rows
    keys: Keys

    def find(self, keys: Keys) -> tuple[NDArray[np.int64], Rows]:
        """(places in `keys`, rows) of all rows under the keys, and of others where keys share a bucket."""
        buckets = (keys >> np.uint32(self.shift)).astype(np.int64)
        first = self.starts[buckets].astype(np.int64)
        counts = self.starts[buckets + 1] - first
        places = np.repeat(np.arange(len(keys)), counts)
        found = places_of_runs(first, counts)
        if len(self.keys):
            same = self.keys[found] == keys[places]
            places, found = places[same], found[same]
        return places, self.rows[found]


def segment(keys: Keys, rows: Rows, *, frozen: bool = False) -> Segment:
    """The segment of rows under their keys; a frozen one takes half the memory."""
    pairs = keys.astype(np.uint64) << np.uint64(32) | rows.astype(np.uint64)
    pairs.sort()
    bits = min(31, max(1, len(pairs).bit_length() - (3 if frozen else 2)))
    shift = 32 - bits
    starts = np.zeros((1 << bits) + 1, dtype=np.uint32)
    sizes = np.bincount((pairs >> np.uint64(32 + shift)).astype(np.int64), minlength=1 << bits)
    np.cumsum(sizes, out=starts[1:])
    kept = np.empty(0, dtype=np.uint32) if frozen else (pairs >> np.uint64(32)).astype(np.uint32)
    return Segment(shift, starts, pairs.astype(np.uint32).view(np.int32), kept)


class Postings:
    """Segments, from the largest to the smallest; small ones are merged as more come."""

    def __init__(self) -> None:
        self.segments: list[Segment] = []

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that this is, by name."""
        found: dict[str, NDArray[Any]] = {"shifts": np.array([each.shift for each in self.segments], dtype=np.int64)}
        for number, each in enumerate(self.segments):
            found |= {f"{number}_starts": each.starts, f"{number}_rows": each.rows, f"{number}_keys": each.keys}
        return found

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` were taken from."""
        self.segments = [
            Segment(shift, arrays[f"{number}_starts"], arrays[f"{number}_rows"], arrays[f"{number}_keys"])
            for number, shift in enumerate(arrays["shifts"].tolist())
        ]

    def add(self, keys: Keys, rows: Rows) -> None:
        """Add rows under their keys."""
        self.segments.append(segment(keys, rows))
        while self._last_are_alike():
            last = self.segments[-_FANOUT:]
            del self.segments[-_FANOUT:]
            merged = [np.concatenate(part) for part in zip(*((each.keys, each.rows) for each in last), strict=True)]
            self.segments.append(segment(merged[0], merged[1], frozen=len(merged[0]) >= _FROZEN))

    def add_frozen(self, keys: Keys, rows: Rows) -> None:
        """Add rows in a segment that is never merged."""
        self.segments.append(segment(keys, rows, frozen=True))

    def _last_are_alike(self) -> bool:
        last = [len(each.rows) for each in self.segments[-_FANOUT:] if len(each.keys)]
        return len(last) == _FANOUT and max(last) < _FANOUT * max(1, min(last))
