"""The texts of a pool as flat arrays: no Python object for any of them."""

import sys
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.arrays import Ends, Growing, Numbers, places_of_runs, prefixed, under
from pacos.novelty.ids import Ids

# A text's token numbers, in the form that RapidFuzz compares.
Symbols: TypeAlias = "str | array[int]"


class Texts:
    """Of each text its id, the numbers of its tokens, their count, and its signature."""

    def __init__(self) -> None:
        self._numbers = Numbers()
        self._lengths: Growing[Any] = Growing(np.empty(0, dtype=np.uint16))
        self._ends = Ends()
        self._signatures: Growing[np.uint64] = Growing(np.empty(0, dtype=np.uint64))
        self._ids = Ids()

    def __len__(self) -> int:
        return len(self._ends)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that this is, by name."""
        return {
            "lengths": self._lengths.values,
            "signatures": self._signatures.values,
            **prefixed("numbers", self._numbers.arrays()),
            **prefixed("ends", self._ends.arrays()),
            **prefixed("ids", self._ids.arrays()),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` were taken from."""
        self._lengths = Growing(arrays["lengths"])
        self._signatures = Growing(arrays["signatures"])
        self._numbers.restore(under("numbers", arrays))
        self._ends.restore(under("ends", arrays))
        self._ids.restore(under("ids", arrays))

    def append(
        self,
        ids: Sequence[str],
        numbers: NDArray[np.int64],
        lengths: NDArray[np.int64],
        signatures: NDArray[np.uint64],
    ) -> None:
        """Append texts; `numbers` is flat, text after text."""
        self._ids.append(ids)
        self._ends.append(lengths)
        if len(lengths) and lengths.max() > np.iinfo(self._lengths.values.dtype).max:
            self._lengths = Growing(self._lengths.values.astype(np.int32))
        self._lengths.append(lengths)
        self._numbers.append(numbers)
        self._signatures.append(signatures)

    def id(self, row: int) -> str:
        """The id of a text."""
        return self._ids[row]

    def lengths(self, rows: NDArray[np.integer] | slice) -> NDArray[np.int64]:
        """How many tokens each of the texts has."""
        return self._lengths.values[rows].astype(np.int64)

    def signatures(self, rows: NDArray[np.integer] | slice) -> NDArray[np.uint64]:
        """The signature of each of the texts."""
        return self._signatures.values[rows]

    def numbers(self, first: int, end: int) -> NDArray[np.int64]:
        """The tokens of the texts from `first` up to `end`, flat."""
        return self._numbers.at(self._ends.span(first, end))

    def numbers_of(self, rows: NDArray[np.integer]) -> NDArray[np.int64]:
        """The tokens of the texts at these rows, flat."""
        lengths = self.lengths(rows)
        return self._numbers.at(places_of_runs(self._ends.of(rows) - lengths, lengths))


def symbols(words: NDArray[np.integer], lengths: NDArray[np.int64]) -> list[Symbols]:
    """The texts of which `words` has the words, text after text: strings if each word has a character (fastest), else
    arrays."""
    ends = np.cumsum(lengths).tolist()
    flat = words.astype(np.uint32)
    everything: Symbols
    if len(flat) and flat.max() > sys.maxunicode:
        everything = array("I", flat.tobytes())
    else:
        everything = flat.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
    return [everything[start:end] for start, end in zip([0, *ends], ends, strict=False)]
