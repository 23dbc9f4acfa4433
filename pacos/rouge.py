"""ROUGE-L exactly as `rouge_score` 0.1.2 computes it, and its tokens.

    rouge_l("a red fox", "the red fox", stemmer=True)        # 2/3

Scores are bit-identical to those of `RougeScorer(["rougeL"])`: tokens become characters, and RapidFuzz finds the
longest common subsequence (LCS) bit-parallel. `pacos/novelty/` finds near copies by them in a growing pool.
"""

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rapidfuzz.distance import LCSseq

if TYPE_CHECKING:
    import regex

_TOKEN = re.compile(r"[a-z0-9]+")


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
