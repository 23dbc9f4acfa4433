"""Texts that are decided together, and the pairs that they are in."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.vocabulary import Numbered


class Match(NamedTuple):
    """A pool text and its ROUGE-L F with the text in question."""

    id: str
    score: float


class Pairs(NamedTuple):
    """Pairs of a query (its place in the group) and a text: a pool row, or behind these the place of a query."""

    queries: NDArray[np.int64]
    rows: NDArray[np.int64]


class Group(NamedTuple):
    """Texts as numbers and as words (further occurrences numbered as the first), flat, with their signatures."""

    numbered: Numbered
    words: NDArray[np.int64]
    lengths: NDArray[np.int64]
    signatures: NDArray[np.uint64]


class NumberedTexts(NamedTuple):
    """Texts as numbers of a vocabulary, flat, and the length of each."""

    numbers: NDArray[np.uint32]
    lengths: NDArray[np.int64]
