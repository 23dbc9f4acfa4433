"""How similar each text of a pool is to those before it: the nearest, and the mean over them.

That takes a score for every pair, so above 100,000 texts a sample answers, and says so.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from pacos.novelty.arrays import Growing
from pacos.novelty.bounds import scores
from pacos.novelty.texts import Symbols

# Texts with more before them are compared with a sample of these: every 2^k-th, at most SAMPLE.
WHOLE = 100_000
SAMPLE = 25_000

# Texts scored against the pool at once: RapidFuzz converts the pool once for all of them.
BATCH = 64

# Pool texts scored at a time, so that the scores stay in the processor's cache.
_BLOCK = 8192


class Neighbours(NamedTuple):
    """The nearest pool text ("" where none shares a token), its F, and the mean F, over the texts before one.

    `sampled`: over a sample of these.
    """

    nearest_id: str
    nearest: float
    mean: float
    sampled: bool


def stride(position: int) -> int:
    """Of the texts before `position` every how many-th is compared with."""
    if position <= WHOLE:
        return 1
    return 1 << (-(-position // SAMPLE) - 1).bit_length()


class Surroundings:
    """Scores texts against those before them. `symbols` gives the texts at rows as RapidFuzz compares them, `id` the
    id of one."""

    def __init__(self, symbols: Callable[[NDArray[np.int64]], list[Symbols]], id: Callable[[int], str]) -> None:
        self._symbols, self._id = symbols, id
        self._stride = 1
        self._sample: list[Symbols] = []
        self._lengths: Growing[np.int32] = Growing(np.empty(0, dtype=np.int32))

    def neighbours(self, start: int, end: int) -> list[Neighbours]:
        """The neighbours of the texts from `start` up to `end`; many at once cost far less than one by one."""
        found: list[Neighbours] = []
        while start < end:
            step, first = stride(start), start
            while start < min(end, first + BATCH) and stride(start) == step:
                start += 1
            found += self._batch(first, start, step)
        return found

    def _batch(self, first: int, end: int, step: int) -> list[Neighbours]:
        self._extend_sample(end, step)
        queries = self._symbols(np.arange(first, end))
        # How many of the sample lie before each query.
        before = [-(-position // step) for position in range(first, end)]
        nearest, best, sums = [0.0] * len(queries), [0] * len(queries), [0.0] * len(queries)
        for block in range(0, before[-1], _BLOCK):
            texts = self._sample[block : min(block + _BLOCK, before[-1])]
            rows = process.cdist(queries, texts, scorer=LCSseq.similarity, dtype=np.int32)
            lengths = self._lengths.values[block : block + len(texts)]
            for query, (text, row) in enumerate(zip(queries, rows, strict=True)):
                earlier = max(0, before[query] - block)
                own = np.full(1, len(text))
                found = scores(row[:earlier], own, lengths[:earlier])
                sums[query] += float(found.sum())
                if len(found) and (highest := float(found.max())) > nearest[query]:
                    nearest[query], best[query] = highest, step * (block + int(found.argmax()))
        return [
            Neighbours(self._id(near) if score else "", score, total / max(1, compared), step > 1)
            for near, score, total, compared in zip(best, nearest, sums, before, strict=True)
        ]

    def _extend_sample(self, end: int, step: int) -> None:
        if step != self._stride:
            self._stride, self._sample = step, []
            self._lengths = Growing(np.empty(0, dtype=np.int32))
        more = self._symbols(np.arange(len(self._sample) * step, end, step))
        self._sample += more
        self._lengths.append(list(map(len, more)))
