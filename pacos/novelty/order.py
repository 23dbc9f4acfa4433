"""The order of a pool's tokens, and which keys are extended: both are learned from the pool, then fixed for a while."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.bounds import Bounds
from pacos.novelty.keys import FIRST_RANK, Order, Ranked, bucket, combinations

# Texts of which combinations of tokens are counted, in runs of so many.
_COUNTED = 1 << 17
_RUN = 1 << 12

# Keys are extended only where a text of so many tokens has three in common with any near copy.
_TYPICAL_LENGTH = 9


def ranks_by(frequencies: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The rank of each token, the rarest first."""
    ranks = np.empty(len(frequencies), dtype=np.uint32)
    ranks[np.argsort(frequencies, kind="stable")] = FIRST_RANK + np.arange(len(frequencies))
    return ranks


def order_of(frequencies: NDArray[np.int64], texts: int, bounds: Bounds, ranked: Callable[[int, int], Ranked]) -> Order:
    """Which keys are extended, in a pool of so many texts: those of more than `crowd` of them.

    `ranked` gives the texts from one row up to another, by `ranks_by`.
    """
    if bounds.least_common(np.array([_TYPICAL_LENGTH]))[0] < 3:
        return Order()
    order = Order(FIRST_RANK + int((frequencies <= crowd(texts)).sum()))
    counts = np.zeros(1 << min(22, max(10, texts.bit_length() + 2)), dtype=np.int64)
    counted = 0
    for first, end in _runs(texts):
        counted += end - first
        hashes = combinations(ranked(first, end), order)
        counts += np.bincount(bucket(hashes, len(counts)), minlength=len(counts))
    return Order(order.extended_from, np.packbits(counts * (texts / counted) > crowd(texts), bitorder="little"))


def crowd(texts: int) -> int:
    """More texts than this under one key, in a pool of `texts`, are too many. Measured (`benchmarks/novelty.py`)."""
    return int(texts**0.5)


def _runs(texts: int) -> Iterator[tuple[int, int]]:
    """Runs of rows, evenly over the pool."""
    step = _RUN * max(1, texts // _COUNTED)
    for first in range(0, texts, step):
        yield first, min(first + _RUN, texts)
