"""`stats.json`: the yield funnel, tokens, speed, cost, lengths and novelty of a dataset."""

from collections.abc import Sequence
from typing import Any

from pacos.generate.pool import Tally

HISTOGRAM_BINS = 10


def dataset_stats(
    tally: Tally,
    *,
    stopped_by: str,
    answered: int = 0,
    prompt_tokens: int = 0,
    completion_tokens: int = 0,
    seconds: float = 0.0,
    cost: float = 0.0,
) -> dict[str, Any]:
    """Every key with a number, 0 where there is nothing to count.

    The funnel counts what was committed; tokens, seconds and cost count every answer that came (`answered`).
    """
    return {
        "funnel": {
            "answered": answered,
            "requests": tally.requests,
            "items": tally.items,
            "parsed": tally.parsed,
            "instructions": tally.instructions,
            "instances": tally.instances,
            "accepted": tally.accepted,
            "rejected": {str(reason): count for reason, count in tally.rejected.most_common()},
        },
        "tokens": {"prompt": prompt_tokens, "completion": completion_tokens},
        "seconds": round(seconds, 3),
        "tokens_per_second": round(completion_tokens / seconds, 1) if seconds else 0.0,
        "cost": {
            "total": round(cost, 4),
            "per_1000": round(1000 * cost / tally.accepted, 4) if tally.accepted else 0.0,
        },
        "stopped_by": stopped_by,
        "classification": {kind: tally.classification[kind] for kind in ("yes", "no", "unknown")},
        "lengths": {
            "instruction": words(tally.words["instruction"]),
            "input": words([length for length in tally.words["input"] if length]),
            "output": words(tally.words["output"]),
            "with_input": sum(length > 0 for length in tally.words["input"]),
        },
        "novelty": {
            "mean_nearest_rougeL": round(mean(tally.nearest), 6),
            "nearest_rougeL_histogram": histogram(tally.nearest),
        },
    }


def words(lengths: Sequence[int]) -> dict[str, float]:
    """Mean, median and 95th percentile (nearest rank) in words; inputs count where there is one."""
    ranked = sorted(lengths)
    return {
        "mean": round(mean(lengths), 2),
        "median": _nearest_rank(ranked, 50),
        "p95": _nearest_rank(ranked, 95),
        "max": max(lengths, default=0),
    }


def histogram(scores: Sequence[float]) -> list[int]:
    """Counts in ten bins of 0.1 from 0 to 1."""
    bins = [0] * HISTOGRAM_BINS
    for score in scores:
        bins[min(int(score * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)] += 1
    return bins


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def _nearest_rank(ranked: Sequence[int], percent: int) -> int:
    return ranked[-(-len(ranked) * percent // 100) - 1] if ranked else 0
