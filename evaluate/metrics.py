"""From a completion to its scores: which part of it is the answer, and the published metrics of that answer.

ROUGE-L with stemmer and exact match, each the best over an instance's references, on the 0–100 scale (Tk-Instruct
`compute_metrics.py`, natural-instructions `eval/automatic/evaluation.py`). On the x-lingual track ROUGE-L is taken over
GPT-2's pieces (`--track xlingual` of both scripts); exact match is the same.

A model that was never taught to stop gives the answer and continues, so a part may be scored instead of the whole:
`none` is Self-Instruct's and Tk-Instruct's protocol, `first-period` that of SuperNI's GPT-3 row (run_gpt3.py).
"""

import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from pacos.extensions import METRICS, POSTPROCESS, load
from pacos.rouge import rouge_l_tokens, tokenize
from pacos.superni.pieces import gpt2_pieces

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


def best_rouge_l_of_pieces(answer: str, references: Iterable[str]) -> float:
    """ROUGE-L (F-measure) over GPT-2's pieces, the best over the references."""
    pieces = gpt2_pieces(answer)
    return 100 * max(rouge_l_tokens(pieces, gpt2_pieces(reference)) for reference in references)


def best_exact_match(answer: str, references: Iterable[str]) -> float:
    """100 where the normalised answer equals a normalised reference, else 0."""
    normalised = normalise(answer)
    return 100.0 if any(normalised == normalise(reference) for reference in references) else 0.0


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, single spaces; articles stay (unlike SQuAD's)."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


Measure = Callable[[str, Iterable[str]], float]


@dataclass(frozen=True, slots=True)
class Metric:
    """A score of one answer, 0–100, which is averaged over instances; `name` is its key in result files.

    `measure(text, references)` is applied to `part(answer)`. `by_tokenizer` has what measures instead on a suite that
    is scored by another tokenizer than rouge_score's (pacos.evaluate.tracks).
    """

    name: str
    measure: Measure
    part: Callable[[str], str] = str
    by_tokenizer: Mapping[str, Measure] = field(default_factory=dict)

    def measure_by(self, tokenizer: str) -> Measure:
        """What measures on a suite that is scored by that tokenizer."""
        return self.by_tokenizer.get(tokenizer, self.measure)


_OF_PIECES = {"gpt2": best_rouge_l_of_pieces}
ROUGE_L = Metric("rougeL", best_rouge_l, by_tokenizer=_OF_PIECES)
EXACT_MATCH = Metric("exact_match", best_exact_match)
FIRST_LINE_ROUGE_L = Metric("first_line_rougeL", best_rouge_l, first_line, _OF_PIECES)


def score_answer(
    answer: str, references: Iterable[str], known: Mapping[str, float] | None = None, tokenizer: str = "rouge"
) -> dict[str, float]:
    """{name: score} for every metric of extensions.METRICS; those in `known` are not computed again."""
    references, known = list(references), known or {}
    found: dict[tuple[Measure, str], float] = {}
    scores = {}
    for metric in _all_metrics():
        measure = metric.measure_by(tokenizer)
        key = measure, metric.part(answer)
        if metric.name in known:
            found[key] = known[metric.name]
        elif key not in found:
            found[key] = measure(key[1], references)
        scores[metric.name] = found[key]
    return scores


def _all_metrics() -> list[Metric]:
    return [load(METRICS, name) for name in METRICS]
