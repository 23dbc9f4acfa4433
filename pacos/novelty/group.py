"""Texts that are decided together, and the pairs that they are in."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

from pacos.novelty.bounds import Bounds, scores
from pacos.novelty.texts import Symbols, symbols
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


def pairs_within(group: Group, bounds: Bounds, rows: int) -> Pairs:
    """Pairs with texts before them in the group that may be above the threshold; their rows are those that they would
    have if all were added to a pool of so many `rows`."""
    near = bounds.may_be_above(
        group.lengths[:, None], group.signatures[:, None], group.lengths[None], group.signatures[None]
    )
    queries, earlier = np.nonzero(np.tril(near, -1))
    return Pairs(queries, earlier + rows)


def pairs_above(
    group: Group, pairs: Pairs, texts: Callable[[NDArray[np.int64]], list[Symbols]], rows: int, threshold: float
) -> tuple[Pairs, NDArray[np.float64]]:
    """The pairs above the threshold, and their F. `texts` gives those of the pool, which has so many `rows`."""
    if not len(pairs.rows):
        return pairs, np.empty(0)
    own = symbols(group.words, group.lengths)
    seconds_rows, places = np.unique(pairs.rows, return_inverse=True)
    in_pool = seconds_rows[seconds_rows < rows]
    seen = texts(in_pool) + [own[row] for row in (seconds_rows[len(in_pool) :] - rows).tolist()]
    firsts = [own[query] for query in pairs.queries.tolist()]
    seconds = [seen[place] for place in places.tolist()]
    common = process.cpdist(firsts, seconds, scorer=LCSseq.similarity, dtype=np.int32)
    lengths = np.fromiter(map(len, seconds), dtype=np.int64, count=len(seconds))
    found = scores(common, group.lengths[pairs.queries], lengths)
    above = found > threshold
    return Pairs(pairs.queries[above], pairs.rows[above]), found[above]
