"""What a ROUGE-L threshold demands of two texts, from their lengths and from 64 bits of each."""

import numpy as np
from numpy.typing import NDArray

# Room for the rounding of a float64 F around the threshold; far below the gap between two distinct F.
_ROUNDING = 1e-9

# Avoids 0/0; smaller than any nonzero precision + recall.
_TINY = 1e-300

Integers = NDArray[np.integer]


class Bounds:
    """F > t needs an LCS of more than t·(m + n)/2 tokens, so of at least t/(2−t) of either text's tokens.

    Every test here is lossless: it passes each pair that could be above the threshold. Raises ValueError for a
    threshold outside [0, 1].
    """

    def __init__(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"a ROUGE-L threshold lies in [0, 1], not {threshold}")
        self._bound = max(0.0, threshold - _ROUNDING)
        self._in_1024ths = int(1024 * self._bound)

    def least_common(self, lengths: Integers) -> NDArray[np.int64]:
        """How many tokens a text of each length has in common with any text above the threshold; at least 1."""
        shares: NDArray[np.float64] = np.ceil(self._bound / (2 - self._bound) * lengths)
        return np.maximum(1, shares).astype(np.int64)

    def may_be_above(
        self,
        lengths: Integers,
        signatures: NDArray[np.uint64],
        other_lengths: Integers,
        other_signatures: NDArray[np.uint64],
    ) -> NDArray[np.bool_]:
        """Which pairs (arrays of one shape, or that broadcast) may be above the threshold.

        A bit that only one signature has is a token that the other text lacks. In integers, which are faster: with the
        threshold rounded down, in 1024ths, as one-sided a test.
        """
        long = max(lengths.max(initial=0), other_lengths.max(initial=0)) >= 1 << 19
        whole = np.int64 if long else np.int32
        lengths, other_lengths = lengths.astype(whole), other_lengths.astype(whole)
        # Tokens that have no bit of their own, and may be in the other text whatever its bits.
        hidden = lengths - np.bitwise_count(signatures)
        other_hidden = other_lengths - np.bitwise_count(other_signatures)
        needed, other_needed = self._in_1024ths * lengths, self._in_1024ths * other_lengths
        demanded = np.maximum((needed - 2048 * hidden) + other_needed, needed + (other_needed - 2048 * other_hidden))
        found: NDArray[np.bool_] = np.bitwise_count(signatures & other_signatures) > demanded >> 11
        return found


def scores(common: Integers, lengths: Integers, other_lengths: Integers) -> NDArray[np.float64]:
    """float64 F of pairs with an LCS of `common` tokens, in rouge_score's order of operations: `lengths` are those of
    the predictions."""
    precision = common / np.maximum(1, lengths)
    recall = common / np.maximum(1, other_lengths)
    found: NDArray[np.float64] = 2 * precision * recall / np.maximum(precision + recall, _TINY)
    return found


def signatures(tokens: Integers, lengths: Integers) -> NDArray[np.uint64]:
    """64 bits of each text, of which each token sets one by its number; texts are runs of the flat `tokens`."""
    found = np.zeros(len(lengths), dtype=np.uint64)
    if len(tokens):
        some = np.flatnonzero(lengths)
        bits = np.uint64(1) << (tokens.astype(np.uint64) & np.uint64(63))
        found[some] = np.bitwise_or.reduceat(bits, (np.cumsum(lengths) - lengths)[some])
    return found
