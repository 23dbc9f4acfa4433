"""How similar each text of a pool is to those before it: the nearest, and the mean over them.

That takes a score for every pair, so above 65,536 texts a sample answers, and says so.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.bounds import scores
from pacos.novelty.subsequences import Block, Group, Queries

# Texts with more before them are compared with a sample of these: every 2^k-th, at most SAMPLE.
WHOLE = 65_536
SAMPLE = 16_384

# Texts compared with the pool at once.
BATCH = 256

# Pool texts compared at a time, so that what is computed of all pairs stays in the processor's cache.
BLOCK = 4096

Positions = TypeVar("Positions", int, NDArray[np.int64])

# Numbers of the tokens of the texts at rows, text after text, and how many each text has.
Texts: TypeAlias = Callable[[NDArray[np.int64]], tuple[NDArray[np.int32], NDArray[np.int64]]]


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


def _before(position: Positions, step: int) -> Positions:
    """How many texts of the sample lie before a position."""
    return -(-position // step)


class Surroundings:
    """Scores texts against those before them. `texts` gives texts of the pool, `tokens` how many different tokens it
    has, and `id` the id of a text."""

    def __init__(self, texts: Texts, tokens: Callable[[], int], id: Callable[[int], str]) -> None:
        self._texts, self._tokens = texts, tokens
        self._id = lru_cache(SAMPLE)(id)  # the same texts of a sample are nearest again and again
        self._stride = 1
        self._blocks: list[Block] = []

    def neighbours(self, start: int, end: int) -> list[Neighbours]:
        """The neighbours of the texts from `start` up to `end`; many at once cost far less than one by one."""
        found: list[Neighbours] = []
        while start < end:
            step, first = stride(start), start
            while start < end and stride(start) == step:
                start += 1
            blocks = self._sample(_before(start - 1, step), step)
            for position in range(first, start, BATCH):
                found += self._batch(np.arange(position, min(position + BATCH, start)), blocks, step)
        return found

    def _batch(self, positions: NDArray[np.int64], blocks: Sequence[Block], step: int) -> list[Neighbours]:
        queries = Queries(*self._texts(positions), self._tokens())
        nearest = _Nearest(_before(positions, step))
        for block in blocks[: -(-_before(int(positions[-1]), step) // BLOCK)]:
            for group, common in queries.common(block):
                nearest.add(block, group, common)
        return [
            Neighbours(self._id(step * place) if score else "", score, mean, step > 1)
            for place, score, mean in nearest.found()
        ]

    def _sample(self, size: int, step: int) -> list[Block]:
        """Blocks that hold the first `size` texts of the sample, or more; all but the last have BLOCK texts."""
        if step != self._stride:
            self._stride, self._blocks = step, []
        while (held := BLOCK * len(self._blocks)) + BLOCK <= size:
            self._blocks.append(self._block(np.arange(held, held + BLOCK), step))
        return self._blocks + ([self._block(np.arange(held, size), step)] if held < size else [])

    def _block(self, places: NDArray[np.int64], step: int) -> Block:
        return Block(places, *self._texts(places * step))


class _Nearest:
    """Of each query the nearest text before it, and the mean F, over the blocks so far. `before` has how many texts of
    the sample each query is compared with."""

    def __init__(self, before: NDArray[np.int64]) -> None:
        self._before = before
        self._places = np.zeros(len(before), dtype=np.int64)
        self._scores, self._sums = np.zeros(len(before)), np.zeros(len(before))

    def found(self) -> list[tuple[int, float, float]]:
        """(place of the nearest, its F, mean F) of each query."""
        means = self._sums / np.maximum(1, self._before)
        return list(zip(self._places.tolist(), self._scores.tolist(), means.tolist(), strict=True))

    def add(self, block: Block, group: Group, common: NDArray[Any]) -> None:
        """Take a block into account, of which `common` has the longest common subsequences with a group of queries."""
        before = self._before[group.places]
        if block.end > before[0]:
            common[block.places[:, None] >= before] = 0
        lengths = block.lengths[[run.start for run in block.runs]][:, None]
        totals = np.stack([common[run].sum(axis=0, dtype=np.int64) for run in block.runs])
        most = np.stack([common[run].max(axis=0) for run in block.runs])
        # F is 2·common/(m + n); rouge_score's order of operations matters for the nearest, and not for a mean.
        self._sums[group.places] += (2 * totals / np.maximum(1, lengths + group.lengths)).sum(axis=0)
        highest = scores(most, group.lengths, lengths)
        best = highest.max(axis=0)
        for column in np.flatnonzero(best > self._scores[group.places]).tolist():
            runs = [block.runs[run] for run in np.flatnonzero(highest[:, column] == best[column]).tolist()]
            firsts = [block.places[run.start + int(common[run, column].argmax())] for run in runs]
            self._places[group.places[column]] = min(firsts)
            self._scores[group.places[column]] = best[column]
