"""Longest common subsequences of a block of texts with each of several queries, a bit for each token of a query.

Hyyrö, "Bit-parallel LCS-length computation revisited" (AWOCA 2004), for all pairs at a time in numpy; RapidFuzz has the
pairs of which a text is longer than a machine word.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from pacos.novelty.texts import Symbols, symbols

_WORDS: tuple[type[np.unsignedinteger[Any]], ...] = (np.uint8, np.uint16, np.uint32, np.uint64)
_BITS = np.array([8, 16, 32, 64])
LONGEST = 64

# Bytes of each of the arrays that must stay in a core's own cache together.
_CACHED = 1 << 17

# Fewer queries than these join those of the next wider words, or RapidFuzz has them: numpy's calls would cost more.
_WORTH_A_GROUP = 16


class Block:
    """Texts of a pool by decreasing length, in the order of their `places` where they are equally long.

    `runs` are the slices of one length each. `numbers` has the first token of each text of up to LONGEST tokens, then
    the second of those that have one, and so on; `counts` has how many these are.
    """

    def __init__(self, places: NDArray[np.int64], numbers: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        order = np.argsort(-lengths, kind="stable")
        self.end = int(places[-1]) + 1
        self.places, self.lengths = places[order], lengths[order]
        texts = symbols(numbers, lengths)
        self.texts = [texts[place] for place in order.tolist()]
        bounds = [0, *(np.flatnonzero(np.diff(self.lengths)) + 1).tolist(), len(order)]
        self.runs = [slice(*bounds[run : run + 2]) for run in range(len(bounds) - 1)]
        self.long = int(np.count_nonzero(lengths > LONGEST))
        short = self.lengths[self.long :]
        starts = (np.cumsum(lengths) - lengths)[order][self.long :]
        self.counts = [int(np.count_nonzero(short > place)) for place in range(short.max(initial=0))]
        columns = [numbers[starts[:count] + place] for place, count in enumerate(self.counts)]
        self.numbers = np.concatenate(columns) if columns else numbers[:0]


class Group(NamedTuple):
    """Queries whose tokens fit into words of one width, at these places among all queries.

    `masks` [1 + tokens of all queries, queries] has the bits of the places where a query has a token; the first row is
    of every other token. None for queries that RapidFuzz compares.
    """

    places: NDArray[np.int64]
    lengths: NDArray[np.int64]
    texts: list[Symbols]
    masks: NDArray[Any] | None


class Queries:
    """Texts to compare with blocks; `tokens` is how many different ones the pool has."""

    def __init__(self, numbers: NDArray[np.int32], lengths: NDArray[np.int64], tokens: int) -> None:
        known, self._rows = np.unique(numbers, return_inverse=True)
        self._row_of = np.zeros(tokens, dtype=np.int32)
        self._row_of[known] = np.arange(1, len(known) + 1)
        self._height = len(known) + 1
        self._lengths = lengths
        self._texts = symbols(numbers, lengths)
        self._owners = np.repeat(np.arange(len(lengths)), lengths)
        self._bits = np.arange(len(numbers)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        self._groups = list(self._grouped())

    def common(self, block: Block) -> Iterator[tuple[Group, NDArray[Any]]]:
        """For each group the lengths of the common subsequences [texts of the block, queries of the group]."""
        for group in self._groups:
            if group.masks is None:
                yield group, _by_rapidfuzz(block.texts, group.texts)
                continue
            rows = self._row_of[block.numbers]
            common = _bit_parallel(rows, block.counts, len(block.places) - block.long, group.masks)
            if block.long:
                common = np.concatenate([_by_rapidfuzz(block.texts[: block.long], group.texts), common])
            yield group, common

    def _grouped(self) -> Iterator[Group]:
        widths = np.searchsorted(_BITS, self._lengths)
        left = np.zeros(len(widths), dtype=np.bool_)
        for width, word in enumerate(_WORDS):
            left |= widths == width
            if np.count_nonzero(left) >= _WORTH_A_GROUP:
                yield self._group(left, self._masks(left, word))
                left = np.zeros_like(left)
        left |= widths == len(_WORDS)
        if np.any(left):
            yield self._group(left, None)

    def _group(self, chosen: NDArray[np.bool_], masks: NDArray[Any] | None) -> Group:
        places = np.flatnonzero(chosen)
        return Group(places, self._lengths[places], [self._texts[place] for place in places.tolist()], masks)

    def _masks(self, chosen: NDArray[np.bool_], word: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
        columns = np.cumsum(chosen) - 1
        ours = chosen[self._owners]
        masks = np.zeros((self._height, int(np.count_nonzero(chosen))), dtype=word)
        bits = np.left_shift(word(1), self._bits[ours].astype(word))
        np.bitwise_or.at(masks, (self._rows[ours] + 1, columns[self._owners[ours]]), bits)
        return masks


def _bit_parallel(rows: NDArray[np.int32], counts: Sequence[int], texts: int, masks: NDArray[Any]) -> NDArray[Any]:
    """[texts, queries]; `rows` are those of `masks` for a block's `numbers`. A 0 bit is a token of the subsequence."""
    word = masks.dtype
    open_bits = np.full((texts, masks.shape[1]), np.iinfo(word).max, dtype=word)
    together = max(1, _CACHED // (masks.shape[1] * word.itemsize))
    matching, carried = (np.empty((min(together, texts), masks.shape[1]), dtype=word) for _ in range(2))
    for first in range(0, texts, together):
        at = first
        for count in counts:
            end = min(count, first + together)
            if end <= first:
                break  # the texts from here on are shorter
            bits, found, summed = open_bits[first:end], matching[: end - first], carried[: end - first]
            # In range, which "clip" need not check, so that no copy is made.
            np.take(masks, rows[at : at + end - first], axis=0, out=found, mode="clip")
            np.bitwise_and(found, bits, out=found)
            np.add(bits, found, out=summed)
            np.subtract(bits, found, out=bits)
            np.bitwise_or(bits, summed, out=bits)
            at += count
    common: NDArray[Any] = np.bitwise_count(np.invert(open_bits, out=open_bits))
    return common


def _by_rapidfuzz(texts: Sequence[Symbols], queries: Sequence[Symbols]) -> NDArray[Any]:
    common: NDArray[Any] = process.cdist(queries, texts, scorer=LCSseq.similarity, dtype=np.int32)
    return common.T
