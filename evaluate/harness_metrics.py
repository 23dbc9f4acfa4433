"""SuperNI's metrics for lm-evaluation-harness: `pacos export` copies this file next to the tasks.

It imports nothing of pacos, and needs rouge_score only.

As published (Tk-Instruct `compute_metrics.py`): ROUGE-L with stemmer and exact match, each the best over the
references, 0–100. Where `pieces.py` lies next to this file, as for the x-lingual track, ROUGE-L is over GPT-2's pieces.
"""

import functools
import importlib.util
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

_PIECES = Path(__file__).with_name("pieces.py")


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float]:
    """The metrics of one instance, which the harness averages."""
    answer = results[0].strip()
    rouge = max(_scorer().score(reference, answer)["rougeL"].fmeasure for reference in doc["references"])
    exact = any(_normalised(answer) == _normalised(reference) for reference in doc["references"])
    return {"rougeL": 100 * rouge, "exact_match": 100.0 * exact}


@functools.cache
def _scorer() -> RougeScorer:
    if not _PIECES.is_file():
        return RougeScorer(["rougeL"], use_stemmer=True)
    spec = importlib.util.spec_from_file_location("gpt2_pieces", _PIECES)
    assert spec and spec.loader
    pieces = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pieces)
    return RougeScorer(["rougeL"], tokenizer=SimpleNamespace(tokenize=pieces.gpt2_pieces))


def _normalised(text: str) -> str:
    return " ".join(text.lower().translate(str.maketrans("", "", string.punctuation)).split())
