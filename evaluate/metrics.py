"""From a completion to its scores: which part of it is the answer, and the published metrics of that answer.

ROUGE-L with stemmer and exact match, each the best over an instance's references, on the 0–100 scale (Tk-Instruct
`compute_metrics.py`, natural-instructions `eval/automatic/evaluation.py`).

A model that was never taught to stop gives the answer and continues, so a part may be scored instead of the whole:
`none` is Self-Instruct's and Tk-Instruct's protocol, `first-period` that of SuperNI's GPT-3 row (run_gpt3.py).
"""

import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pacos.extensions import METRICS, POSTPROCESS, load
from pacos.rouge import rouge_l_tokens, tokenize

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def postprocess(name: str) -> Callable[[str], str]:
    """The function that takes the scored part from a completion (extensions.POSTPROCESS)."""
    function: Callable[[str], str] = load(POSTPROCESS, name)
    return function


def whole(text: str) -> str:
    """The completion without the white space around it."""
    return text.strip()


def first_line(text: str) -> str:
    """Up to the first line break."""
    return text.strip().partition("\n")[0].strip()


def first_period(text: str) -> str:
    """Up to the first period, which is left out."""
    return text.strip().split(".")[0]


def first_paragraph(text: str) -> str:
    """Up to an empty line or the `###` of a next section."""
    return re.split(r"\n\n|###", text.strip(), maxsplit=1)[0].strip()


def best_rouge_l(answer: str, references: Iterable[str]) -> float:
    """ROUGE-L (F-measure) with stemmer, the best over the references."""
    tokens = tokenize(answer, stemmer=True)
    return 100 * max(rouge_l_tokens(tokens, tokenize(reference, stemmer=True)) for reference in references)


def best_exact_match(answer: str, references: Iterable[str]) -> float:
    """100 where the normalised answer equals a normalised reference, else 0."""
    normalised = normalise(answer)
    return 100.0 if any(normalised == normalise(reference) for reference in references) else 0.0


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, single spaces; articles stay (unlike SQuAD's)."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of one answer, 0–100, which is averaged over instances; `name` is its key in result files.

    `measure(text, references)` is applied to `part(answer)`.
    """

    name: str
    measure: Callable[[str, Iterable[str]], float]
    part: Callable[[str], str] = str


ROUGE_L = Metric("rougeL", best_rouge_l)
EXACT_MATCH = Metric("exact_match", best_exact_match)
FIRST_LINE_ROUGE_L = Metric("first_line_rougeL", best_rouge_l, first_line)


def score_answer(answer: str, references: Iterable[str], known: Mapping[str, float] | None = None) -> dict[str, float]:
    """{name: score} for every metric of extensions.METRICS; those in `known` are not computed again."""
    references, known = list(references), known or {}
    found: dict[tuple[Callable[[str, Iterable[str]], float], str], float] = {}
    scores = {}
    for metric in _all_metrics():
        key = metric.measure, metric.part(answer)
        if metric.name in known:
            found[key] = known[metric.name]
        elif key not in found:
            found[key] = metric.measure(key[1], references)
        scores[metric.name] = found[key]
    return scores


def _all_metrics() -> list[Metric]:
    return [load(METRICS, name) for name in METRICS]
