"""Arrays that grow: numpy's, with room to spare."""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)

_INITIAL_ROOM = 1024


class Growing(Generic[Kind]):
    """A flat array to which values are appended. It begins as `values`, which it never writes to."""

    def __init__(self, values: NDArray[Kind]) -> None:
        self._values = values
        self._size = len(values)

    def __len__(self) -> int:
        return self._size

    @property
    def values(self) -> NDArray[Kind]:
        """What has been appended so far; a view."""
        return self._values[: self._size]

    def append(self, more: Any) -> None:
        """Append an array of values."""
        if not len(more):
            return
        end = self._size + len(more)
        if end > len(self._values):
            # An eighth to spare: few copies, little memory.
            room = np.empty(max(_INITIAL_ROOM, end + end // 8), dtype=self._values.dtype)
            room[: self._size] = self.values
            self._values = room
        self._values[self._size : end] = more
        self._size = end


# Ends are kept relative to the first of so many, in half the memory of whole ones.
_PER_BASE = 1 << 16


class Ends:
    """Where each of many runs of a flat array ends, four bytes for each. Raises OverflowError where 65,536 of them have
    more than 2^32 values."""

    def __init__(self) -> None:
        self._bases: Growing[np.int64] = Growing(np.zeros(1, dtype=np.int64))
        self._relative: Growing[np.uint32] = Growing(np.empty(0, dtype=np.uint32))

    def __len__(self) -> int:
        return len(self._relative)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that this is, by name."""
        return {"bases": self._bases.values, "relative": self._relative.values}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` were taken from."""
        self._bases, self._relative = Growing(arrays["bases"]), Growing(arrays["relative"])

    def append(self, lengths: NDArray[np.int64]) -> None:
        """Append runs of these lengths."""
        last = self.of(np.array([len(self) - 1]))[0] if len(self) else 0
        ends = last + np.cumsum(lengths)
        for place in range(-len(self) % _PER_BASE, len(lengths) + 1, _PER_BASE):
            self._bases.append([ends[place - 1] if place else last])
        bases = self._bases.values[1 + (len(self) + np.arange(len(lengths))) // _PER_BASE]
        relative = ends - bases
        if len(relative) and relative.max() >= 1 << 32:
            raise OverflowError("65,536 texts of the pool have more than 2^32 tokens")
        self._relative.append(relative)

    def of(self, runs: NDArray[np.integer]) -> NDArray[np.int64]:
        """Where each of these runs ends; 0 for run -1."""
        if not len(self):
            return np.zeros(len(runs), dtype=np.int64)
        ends = self._bases.values[1 + np.maximum(runs, 0) // _PER_BASE] + self._relative.values[runs]
        found: NDArray[np.int64] = np.where(runs < 0, 0, ends)
        return found

    def span(self, first: int, end: int) -> slice:
        """The values of the runs from `first` up to `end`."""
        start, stop = self.of(np.array([first - 1, end - 1])).tolist()
        return slice(start, stop)


class Numbers:
    """Numbers below 2^32, in three bytes each until one of them needs four."""

    def __init__(self) -> None:
        self._low: Growing[np.uint16] = Growing(np.empty(0, dtype=np.uint16))
        self._high: Growing[np.uint8] = Growing(np.empty(0, dtype=np.uint8))
        self._top: Growing[np.uint8] = Growing(np.empty(0, dtype=np.uint8))

    def append(self, numbers: NDArray[np.int64]) -> None:
        """Append numbers."""
        if len(self._top) or (len(numbers) and numbers.max() >> 24):
            self._top.append(np.zeros(len(self._low) - len(self._top), dtype=np.uint8))
            self._top.append(numbers >> 24)
        self._low.append(numbers & 0xFFFF)
        self._high.append(numbers >> 16 & 0xFF)

    def at(self, places: NDArray[np.int64] | slice) -> NDArray[np.int64]:
        """The numbers at places."""
        found = self._low.values[places].astype(np.int64)
        found |= self._high.values[places].astype(np.int64) << 16
        if len(self._top):
            found |= self._top.values[places].astype(np.int64) << 24
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that this is, by name."""
        return {"low": self._low.values, "high": self._high.values, "top": self._top.values}

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` were taken from."""
        self._low, self._high, self._top = (Growing(arrays[name]) for name in ("low", "high", "top"))


def places_of_runs(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The places of runs in a flat array, run after run: `counts` of them from each start on."""
    places: NDArray[np.int64] = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return places


def prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays under longer names."""
    return {f"{prefix}_{name}": values for name, values in arrays.items()}


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays whose names have the prefix, without it."""
    return {name.removeprefix(f"{prefix}_"): values for name, values in arrays.items() if name.startswith(f"{prefix}_")}
