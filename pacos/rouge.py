"""ROUGE-L exactly as `rouge_score` 0.1.2 computes it, and an index that finds near-copies in a growing pool.

    rouge_l("a red fox", "the red fox", stemmer=True)        # 2/3

    pool = NoveltyIndex(threshold=0.7)
    if pool.rejects(text) is None:
        pool.add("task-1", text)

Every score has the bits that `RougeScorer(["rougeL"])` gives, a thousand times sooner: tokens become
characters, and RapidFuzz finds the longest common subsequence (LCS) bit-parallel.
"""

import functools
import math
import re
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

_TOKEN = re.compile(r"[a-z0-9]+")

# Room for the rounding of a float64 F around the threshold; far below the gap between two distinct F.
_ROUNDING = 1e-9

# Stands for every token that no pool text holds. No pool token is mapped to it.
_UNSEEN = "\0"

# Keeps 0/0 out: below any precision + recall that is not zero.
_TINY = 1e-300

# Texts scored against the whole pool in one call, which converts the pool once for all of them.
_BATCH = 64


def tokenize(text: str, *, stemmer: bool) -> list[str]:
    """Lower-case runs of a–z and 0–9, stemmed (Porter) where longer than three characters if `stemmer`."""
    tokens = _TOKEN.findall(text.lower())
    if not stemmer:
        return tokens
    return [stem for token in tokens if (stem := _stem(token) if len(token) > 3 else token)]


@functools.lru_cache(maxsize=1 << 18)
def _stem(token: str) -> str:
    return str(_porter().stem(token))


@functools.cache
def _porter():  # type: ignore[no-untyped-def]
    from nltk.stem import porter  # type: ignore[import-untyped]  # rouge_score's own; slow to import

    return porter.PorterStemmer()


def rouge_l(prediction: str, reference: str, *, stemmer: bool) -> float:
    """ROUGE-L F in [0, 1]; 0 where either text has no token."""
    return rouge_l_tokens(tokenize(prediction, stemmer=stemmer), tokenize(reference, stemmer=stemmer))


def rouge_l_tokens(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L F of two texts that are tokens already."""
    vocabulary: dict[str, str] = {}
    first = _characters(prediction, vocabulary)
    second = _characters(reference, vocabulary)
    common = LCSseq.similarity(first, second)
    if not common:
        return 0.0
    precision, recall = common / len(first), common / len(second)
    return 2 * precision * recall / (precision + recall)


def _characters(tokens: Sequence[str], vocabulary: dict[str, str]) -> str:
    """One character per token; `vocabulary` grows by the tokens it lacks. chr() has 1.1 million of them."""
    return "".join(
        [vocabulary.get(token) or vocabulary.setdefault(token, chr(len(vocabulary) + 1)) for token in tokens]
    )


class Match(NamedTuple):
    """A pool text and its ROUGE-L F with the text asked about."""

    id: str
    score: float


class Neighbours(NamedTuple):
    """The nearest pool text ("" where none shares a token), its F, and the mean F over the pool."""

    nearest_id: str
    nearest: float
    mean: float


class NoveltyIndex:
    """A pool of texts that answers whether a new text is above `threshold` to any of them (strict `>`).

    The decisions are those of scoring the new text against the whole pool with `rouge_score` without
    stemmer. F > t needs an LCS of at least t/(2−t) of the new text's m tokens, so the two must share one
    of its m − ⌈t·m/(2−t)⌉ + 1 rarest tokens: an inverted index on those leaves a few per cent of the pool
    to score (prefix filtering; Chaudhuri et al. 2006, Bayardo et al. 2007). Ties go to the text added first.
    """

    def __init__(self, threshold: float) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"a ROUGE-L threshold lies in [0, 1], not {threshold}")
        self.threshold = threshold
        bound = max(0.0, threshold - _ROUNDING)
        self._shared = bound / (2 - bound)
        self._ids: list[str] = []
        self._texts: list[str] = []
        self._lengths = np.zeros(1024, dtype=np.int64)
        self._vocabulary: dict[str, str] = {}
        self._postings: dict[str, array[int]] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: str, text: str) -> None:
        characters = _characters(tokenize(text, stemmer=False), self._vocabulary)
        position = len(self._ids)
        if position == len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._ids.append(id)
        self._texts.append(characters)
        self._lengths[position] = len(characters)
        for character in set(characters):
            self._postings.setdefault(character, array("q")).append(position)

    def rejects(self, text: str) -> Match | None:
        """The nearest pool text above the threshold, or None when there is none."""
        characters = self._encode(text)
        survivors = self._survivors(characters)
        if not len(survivors):
            return None
        texts = [self._texts[position] for position in survivors]
        common = process.cdist([characters], texts, scorer=LCSseq.similarity, dtype=np.int32)[0]
        scores = _scores(common, len(characters), self._lengths[survivors])
        best = int(scores.argmax())
        score = float(scores[best])
        return Match(self._ids[survivors[best]], score) if score > self.threshold else None

    def neighbours(self, start: int = 0) -> list[Neighbours]:
        """How each pool text from position `start` on lies to all texts added before it.

        Scores the whole pool, so it is for accepted texts only; many at a time cost far less than one by one.
        """
        found = []
        for first in range(start, len(self), _BATCH):
            batch = self._texts[first : first + _BATCH]
            rows = process.cdist(batch, self._texts, scorer=LCSseq.similarity, dtype=np.int32)
            for position, (text, common) in enumerate(zip(batch, rows, strict=True), first):
                found.append(self._nearest(_scores(common[:position], len(text), self._lengths[:position])))
        return found

    def _nearest(self, scores: NDArray[np.float64]) -> Neighbours:
        if not len(scores):
            return Neighbours("", 0.0, 0.0)
        best = int(scores.argmax())
        nearest = float(scores[best])
        return Neighbours(self._ids[best] if nearest else "", nearest, float(scores.mean()))

    def _encode(self, text: str) -> str:
        return "".join([self._vocabulary.get(token, _UNSEEN) for token in tokenize(text, stemmer=False)])

    def _survivors(self, characters: str) -> NDArray[np.int64]:
        """Positions, in order, of the pool texts that can be above the threshold."""
        m = len(characters)
        least_common = max(1, math.ceil(self._shared * m))
        by_rarity = sorted(characters, key=lambda character: (len(self._postings.get(character, ())), character))
        rarest = set(by_rarity[: m - least_common + 1]) & self._postings.keys()
        if not rarest:
            return np.empty(0, dtype=np.int64)
        found = np.unique(np.concatenate([np.frombuffer(self._postings[c], dtype=np.int64) for c in sorted(rarest)]))
        lengths = self._lengths[found]
        survivors: NDArray[np.int64] = found[(lengths >= self._shared * m) & (m >= self._shared * lengths)]
        return survivors


def _scores(common: NDArray[np.int32], length: int, lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """float64 F of a text of `length` tokens with texts of `lengths`, in rouge_score's order of operations."""
    precision = common / max(1, length)
    recall = common / np.maximum(1, lengths)
    scores: NDArray[np.float64] = 2 * precision * recall / np.maximum(precision + recall, _TINY)
    return scores
