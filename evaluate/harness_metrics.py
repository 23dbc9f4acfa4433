"""SuperNI's metrics for lm-evaluation-harness: `pacos export` copies this file next to the tasks.

It imports nothing of pacos, and needs rouge_score only.

As published (Tk-Instruct `compute_metrics.py`): ROUGE-L with stemmer and exact match, each the best over the
references, 0–100.
"""

import string
from collections.abc import Mapping, Sequence
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

_SCORER = RougeScorer(["rougeL"], use_stemmer=True)


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metrics of one instance, which the harness averages."""
    answer = results[0].strip()
    rouge = max(_SCORER.score(reference, answer)["rougeL"].fmeasure for reference in doc["references"])
    exact = any(_normalised(answer) == _normalised(reference) for reference in doc["references"])
    return {"rougeL": 100 * rouge, "exact_match": 100.0 * exact}


def _normalised(text: str) -> str:
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())
