"""The keys under which texts are indexed: two texts above the threshold have one in common.

Put the tokens of both in one order, rare ones first, the k-th "the" of a text being a token of its own. Texts with α
tokens in common share their i-th common token among the first n − α + i of either (n its length), so one token of the
first p = n − α + 1, two of the first p + 1, three of the first p + 2: prefix filtering (Chaudhuri et al. 2006, Bayardo
et al. 2007) and its ℓ-prefix extension (AdaptJoin, Wang et al. 2012). Here ℓ is chosen for each key by its cost:

    a rare token                            is a key
    a token of too many texts               is extended by each later token of the first p + 1
    a pair that is in too many texts still  is extended by each later token of the first p + 2

Both texts extend the same keys, by one `Order`, so they meet wherever they share enough tokens. Texts that may have
fewer than ℓ tokens in common with another are found under the shorter keys as well.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.arrays import places_of_runs
from pacos.novelty.bounds import Bounds
from pacos.novelty.postings import Keys

# Texts of more tokens have too many pairs: their keys are single tokens, and kept apart from those of shorter texts.
LONGEST_EXTENDED = 32

# Most tokens in a key.
DEEPEST = 3

# The rank of the rarest token that was known when the order was made; later ones rank below. 0 is no pool token's.
FIRST_RANK = 1 << 31

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_OF_LONG_TEXTS = np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True)
class Order:
    """Which keys are extended. `extended_from`: single tokens of this rank and more; `crowded`: combinations, a bit for
    each bucket that their hashes may be in."""

    extended_from: int = 1 << 32
    crowded: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(1, dtype=np.uint8))

    def is_crowded(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Which combinations are in too many texts."""
        buckets = bucket(hashes, 8 * len(self.crowded))
        found: NDArray[np.bool_] = (self.crowded[buckets >> 3] >> (buckets & 7).astype(np.uint8) & 1).astype(np.bool_)
        return found


class KeysOfTexts(NamedTuple):
    """Keys, and the place of the text that each belongs to."""

    keys: Keys
    texts: NDArray[np.int64]


class Ranked:
    """Texts as flat ranks in ascending order, and how many of them count for each.

    `ranks` is flat, text after text; it is sorted here. Those of rank 0 are in no other text.
    """

    def __init__(self, ranks: NDArray[np.uint32], lengths: NDArray[np.int64], bounds: Bounds) -> None:
        self.owners = np.repeat(np.arange(len(lengths)), lengths)
        pairs = self.owners.astype(np.uint64) << np.uint64(32) | ranks
        pairs.sort()
        self.ranks = pairs & np.uint64(0xFFFFFFFF)
        self.ends = np.cumsum(lengths)
        self.lengths = lengths
        self.least_common = bounds.least_common(lengths)
        self.prefixes = np.minimum(lengths, lengths - self.least_common + 1)
        self.starts = self.ends - lengths

    def firsts(self, texts: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The places in `ranks` of the tokens of the chosen texts that may be the first in common with another."""
        counts = np.where(texts, self.prefixes, 0)
        places = places_of_runs(self.starts, counts)
        known: NDArray[np.int64] = places[self.ranks[places] > 0]
        return known


def keys_to_index(texts: Ranked, order: Order) -> KeysOfTexts:
    """The keys under which a text is put."""
    short = texts.lengths <= LONGEST_EXTENDED
    parts = [_extended(texts, short, order)]
    if not short.all():
        parts.append(_of_long_texts(texts, ~short))
    return _together(parts)


def keys_to_find(texts: Ranked, order: Order, bounds: Bounds) -> KeysOfTexts:
    """The keys under which all texts that may be near a text are found."""
    longest_common = np.minimum(texts.lengths, LONGEST_EXTENDED)
    parts = [_extended(texts, texts.least_common <= longest_common, order)]
    near_long = texts.lengths >= int(bounds.least_common(np.array([LONGEST_EXTENDED + 1]))[0])
    if near_long.any():
        parts.append(_of_long_texts(texts, near_long))
    return _together(parts)


def combinations(texts: Ranked, order: Order) -> NDArray[np.uint64]:
    """The hashes of all keys of more than one token, for counting which are crowded."""
    places = texts.firsts(texts.lengths <= LONGEST_EXTENDED)
    hashes = _mixed(texts.ranks[places])
    extended = texts.ranks[places] >= order.extended_from
    found = [hashes[:0]]
    for depth in range(2, DEEPEST):
        places, hashes = _extend(texts, places[extended], hashes[extended], depth)
        found.append(hashes)
        extended = order.is_crowded(hashes)
    return np.concatenate(found)


def bucket(hashes: NDArray[np.uint64], buckets: int) -> NDArray[np.int64]:
    """By the first bits of each hash, which of `buckets` (a power of 2) it is in."""
    return (hashes >> np.uint64(65 - buckets.bit_length())).astype(np.int64)


def _extended(texts: Ranked, chosen: NDArray[np.bool_], order: Order) -> KeysOfTexts:
    places = texts.firsts(chosen)
    hashes = _mixed(texts.ranks[places])
    extended = texts.ranks[places] >= order.extended_from
    parts = []
    for depth in range(1, DEEPEST + 1):
        # With `depth` tokens in common, perhaps, and no more, a text has no longer key.
        kept = ~extended | (texts.least_common[texts.owners[places]] <= depth) if depth < DEEPEST else slice(None)
        parts.append(KeysOfTexts((hashes[kept] >> np.uint64(32)).astype(np.uint32), texts.owners[places[kept]]))
        if depth == DEEPEST or not extended.any():
            break
        places, hashes = _extend(texts, places[extended], hashes[extended], depth + 1)
        extended = order.is_crowded(hashes)
    return _together(parts)


def _extend(
    texts: Ranked, places: NDArray[np.int64], hashes: NDArray[np.uint64], depth: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Each combination, which ends at its place, with each later token that may be the `depth`-th in common."""
    owners = texts.owners[places]
    ends = np.minimum(texts.ends[owners], texts.starts[owners] + texts.prefixes[owners] + depth - 1)
    counts = np.maximum(0, ends - places - 1)
    longer = places_of_runs(places + 1, counts)
    return longer, _mixed(np.repeat(hashes, counts) ^ texts.ranks[longer])


def _of_long_texts(texts: Ranked, chosen: NDArray[np.bool_]) -> KeysOfTexts:
    places = texts.firsts(chosen)
    hashes = _mixed(texts.ranks[places] ^ _OF_LONG_TEXTS)
    return KeysOfTexts((hashes >> np.uint64(32)).astype(np.uint32), texts.owners[places])


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """A hash whose first bits depend on all bits of the value."""
    values = (values ^ (values >> np.uint64(31))) * _MULTIPLIER
    return (values ^ (values >> np.uint64(29))) * _MULTIPLIER


def _together(parts: list[KeysOfTexts]) -> KeysOfTexts:
    if len(parts) == 1:
        return parts[0]
    return KeysOfTexts(np.concatenate([each.keys for each in parts]), np.concatenate([each.texts for each in parts]))
