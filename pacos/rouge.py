"""ROUGE-L exactly as `rouge_score` 0.1.2 computes it, and an index that finds near-copies in a growing pool.

    rouge_l("a red fox", "the red fox", stemmer=True)        # 2/3

    pool = NoveltyIndex(threshold=0.7)
    if pool.rejects(text) is None:
        pool.add("task-1", text)

Every score is bit-identical to that of `RougeScorer(["rougeL"])` and a thousand times faster: tokens become characters,
and RapidFuzz finds the longest common subsequence (LCS) bit-parallel.
"""

import functools
import itertools
import math
import re
import sys
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import LCSseq

if TYPE_CHECKING:
    import regex

_TOKEN = re.compile(r"[a-z0-9]+")

# Room for the rounding of a float64 F around the threshold; far below the gap between two distinct F.
_ROUNDING = 1e-9

# Avoids 0/0; smaller than any nonzero precision + recall.
_TINY = 1e-300

# Texts scored against the whole pool at once: RapidFuzz converts the pool once for all of them.
BATCH = 64

# Pool texts scored at a time, so that the scores stay in the processor's cache.
_BLOCK = 8192

# Initial capacity of the index in texts; it doubles.
_INITIAL_CAPACITY = 1024

# A text's token numbers, in the form that RapidFuzz compares.
Symbols: TypeAlias = "str | array[int]"


def tokenize(text: str, *, stemmer: bool) -> list[str]:
    """Lower-case runs of a–z and 0–9; with `stemmer`, those longer than three characters are Porter-stemmed."""
    tokens = _TOKEN.findall(text.lower())
    if not stemmer:
        return tokens
    return [stem for token in tokens if (stem := _stem(token) if len(token) > 3 else token)]


def rouge_tokens(text: str) -> list[str]:
    """Tokens as rouge_score's default tokenizer gives them, without a stemmer."""
    return tokenize(text, stemmer=False)


def unicode_tokens(text: str) -> list[str]:
    """Words of any script, case and compatibility forms folded; single characters in scripts without spaces."""
    return list(_unicode_token().findall(unicodedata.normalize("NFKC", text).casefold()))


@functools.cache
def _unicode_token() -> "regex.Pattern[str]":
    import regex

    unspaced = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}"
    return regex.compile(rf"[\p{{L}}\p{{N}}&&[{unspaced}]]\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--[{unspaced}]]+", regex.V1)


@functools.lru_cache(maxsize=1 << 18)
def _stem(token: str) -> str:
    return str(_porter().stem(token))


@functools.cache
def _porter() -> Any:
    from nltk.stem import porter  # rouge_score's own; slow to import

    return porter.PorterStemmer()


def rouge_l(prediction: str, reference: str, *, stemmer: bool) -> float:
    """ROUGE-L F in [0, 1]; 0 if either text has no tokens."""
    return rouge_l_tokens(tokenize(prediction, stemmer=stemmer), tokenize(reference, stemmer=stemmer))


def rouge_l_tokens(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L F of two tokenized texts."""
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
    """A pool text and its ROUGE-L F with the text in question."""

    id: str
    score: float


class Neighbours(NamedTuple):
    """The nearest pool text ("" where none shares a token), its F, and the mean F over the pool."""

    nearest_id: str
    nearest: float
    mean: float


class NoveltyIndex:
    """A pool of texts that decides whether a new text's ROUGE-L to any of them is above `threshold` (strict `>`).

    The decisions are those of scoring the new text against the whole pool with `rouge_score` without stemmer. Three
    bounds leave few texts to score and exclude none that could be above:

    - F > t needs an LCS of more than t·(m + n)/2, so of at least t/(2−t) of either text's tokens. With the
      tokens of both in one order, rare ones first, the two share one of the first m − ⌈t·m/(2−t)⌉ + 1, so only those
      are indexed (prefix filtering; Chaudhuri et al. 2006, Bayardo et al. 2007).
    - The length of each text bounds F.
    - Each text has a signature of 64 bits, and each token sets a bit by its number. A bit that only one text has
      is a token that the other lacks.

    Ties go to the text added first. `tokens` splits a text; the default is rouge_score's tokenizer. Raises ValueError
    for a threshold outside [0, 1].
    """

    def __init__(self, threshold: float, tokens: Callable[[str], list[str]] = rouge_tokens) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"a ROUGE-L threshold lies in [0, 1], not {threshold}")
        self.threshold = threshold
        self._bound = max(0.0, threshold - _ROUNDING)
        self._tokens = tokens
        self._ids: list[str] = []
        self._texts: list[Symbols] = []
        self._lengths = np.zeros(_INITIAL_CAPACITY, dtype=np.int32)
        self._signatures = np.zeros(_INITIAL_CAPACITY, dtype=np.uint64)
        # By token number; 0 stands for every token that no pool text holds.
        self._numbers: dict[str, int] = {}
        self._ranks: list[int] = [-sys.maxsize]
        self._postings: list[array[int]] = [array("i")]

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, id: str, text: str) -> None:
        """Add a text to the pool, under a name of its own."""
        numbers = [self._number(token) for token in self._tokens(text)]
        position = len(self._ids)
        if position == len(self._lengths):
            self._grow()
        self._ids.append(id)
        self._texts.append(_symbols(numbers))
        self._lengths[position] = len(numbers)
        self._signatures[position] = _signature(numbers)
        self._post(position, numbers)

    def rejects(self, text: str) -> Match | None:
        """The nearest pool text above the threshold, or None when there is none."""
        numbers = [self._numbers.get(token, 0) for token in self._tokens(text)]
        survivors = self._survivors(numbers)
        if not len(survivors):
            return None
        texts = [self._texts[position] for position in survivors.tolist()]
        common = process.cdist([_symbols(numbers)], texts, scorer=LCSseq.similarity, dtype=np.int32)[0]
        scores = _scores(common, len(numbers), self._lengths[survivors])
        best = int(scores.argmax())
        score = float(scores[best])
        return Match(self._ids[survivors[best]], score) if score > self.threshold else None

    def neighbours(self, start: int = 0) -> list[Neighbours]:
        """The similarity of each pool text from position `start` on to all texts added before it.

        Scores the whole pool, so use it for accepted texts only; many at once cost far less than one by one.
        """
        found = []
        for first in range(start, len(self), BATCH):
            found += self._batch_neighbours(first, min(first + BATCH, len(self)))
        return found

    def _batch_neighbours(self, first: int, end: int) -> list[Neighbours]:
        queries = self._texts[first:end]
        nearest, best, sums = [0.0] * len(queries), [0] * len(queries), [0.0] * len(queries)
        for block in range(0, end, _BLOCK):
            texts = self._texts[block : min(block + _BLOCK, end)]
            rows = process.cdist(queries, texts, scorer=LCSseq.similarity, dtype=np.int32)
            lengths = self._lengths[block : block + len(texts)]
            for query, (text, row) in enumerate(zip(queries, rows, strict=True)):
                earlier = max(0, first + query - block)
                scores = _scores(row[:earlier], len(text), lengths[:earlier])
                sums[query] += float(scores.sum())
                if len(scores) and (highest := float(scores.max())) > nearest[query]:
                    nearest[query], best[query] = highest, block + int(scores.argmax())
        return [
            Neighbours(self._ids[near] if score else "", score, total / max(1, position))
            for position, (near, score, total) in enumerate(zip(best, nearest, sums, strict=True), first)
        ]

    def _number(self, token: str) -> int:
        """The token's number; a new token ranks as the rarest."""
        number = self._numbers.setdefault(token, len(self._ranks))
        if number == len(self._ranks):
            self._ranks.append(-number)
            self._postings.append(array("i"))
        return number

    def _post(self, position: int, numbers: Sequence[int]) -> None:
        for number in self._rarest(numbers):
            self._postings[number].append(position)

    def _rarest(self, numbers: Sequence[int]) -> set[int]:
        """The tokens of which any text above the threshold must share one."""
        least_common = max(1, math.ceil(self._bound / (2 - self._bound) * len(numbers)))
        return set(sorted(numbers, key=self._ranks.__getitem__)[: len(numbers) - least_common + 1])

    def _survivors(self, numbers: Sequence[int]) -> NDArray[np.int32]:
        """Positions, in order, of the pool texts that may be above the threshold."""
        postings = [np.frombuffer(found, dtype=np.int32) for n in self._rarest(numbers) if (found := self._postings[n])]
        if not postings:
            return np.empty(0, dtype=np.int32)
        candidates = np.concatenate(postings)
        signature, length = _signature(numbers), len(numbers)
        signatures, lengths = self._signatures[candidates], self._lengths[candidates]
        missing_here = np.bitwise_count(signatures & ~signature)
        missing_there = np.bitwise_count(signature & ~signatures)
        most_common = np.minimum(lengths - missing_here, length - missing_there.astype(np.int32))
        survivors: NDArray[np.int32] = np.unique(candidates[2 * most_common > self._bound * (lengths + length)])
        return survivors

    def _grow(self) -> None:
        """Double the capacity, and reindex all texts by the current rarity of each token."""
        self._lengths = np.concatenate([self._lengths, np.zeros_like(self._lengths)])
        self._signatures = np.concatenate([self._signatures, np.zeros_like(self._signatures)])
        frequencies = Counter(itertools.chain.from_iterable(map(_numbers, self._texts)))
        for rank, number in enumerate(sorted(range(1, len(self._ranks)), key=lambda n: (frequencies[n], n))):
            self._ranks[number] = rank
        self._postings = [array("i") for _ in self._ranks]
        for position, text in enumerate(self._texts):
            self._post(position, _numbers(text))


def _symbols(numbers: Sequence[int]) -> Symbols:
    """The form in which RapidFuzz compares texts: a string if every number has a character (fastest), else an array."""
    if max(numbers, default=0) <= sys.maxunicode:
        return "".join(map(chr, numbers))
    return array("I", numbers)


def _numbers(symbols: Symbols) -> Sequence[int]:
    return list(map(ord, symbols)) if isinstance(symbols, str) else symbols


def _signature(numbers: Iterable[int]) -> np.uint64:
    bits = 0
    for number in numbers:
        bits |= 1 << (number & 63)
    return np.uint64(bits)


def _scores(common: NDArray[np.int32], length: int, lengths: NDArray[np.int32]) -> NDArray[np.float64]:
    """float64 F of a text of `length` tokens with texts of `lengths`, in rouge_score's order of operations."""
    precision = common / max(1, length)
    recall = common / np.maximum(1, lengths)
    scores: NDArray[np.float64] = 2 * precision * recall / np.maximum(precision + recall, _TINY)
    return scores
