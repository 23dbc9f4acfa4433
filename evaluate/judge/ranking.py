"""A judge's scores against people's ranking of the same answers: the five figures of Self-Rewarding LMs.

Yuan et al. (2401.10020, section 3.1) leave open what a tie is worth. Here a pair that people rank apart and the judge
scores alike counts ½, and the share of such pairs stands beside the accuracy; a request whose answers all have one
score adds a correlation of 0. Answers without a readable score take no part and are counted.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

from pacos.evaluate.agreement import kendall, spearman, wilson
from pacos.evaluate.intervals import paired_difference
from pacos.evaluate.judge.answers import Answer
from pacos.records import Judgement
from pacos.results.figures import Rate

Values = dict[str, Any]
Key = tuple[str, str, int]
# An answer's rank (0 the best) and its mean score.
Both = tuple[int, float]

FULL_SCORE = 5.0

FIGURES = {
    "pairwise_accuracy": "pairwise accuracy",
    "five_best": "5-best",
    "exact_match": "exact match",
    "spearman": "Spearman",
    "kendall": "Kendall τ",
}
# The paper's own, on Open Assistant's rankings with 2.85 answers to a request. Published, not measured here.
PUBLISHED = {
    name: dict(zip(FIGURES, figures, strict=True))
    for name, figures in {
        "SFT baseline": (65.1, 39.6, 10.1, 0.253, 0.233),
        "M1": (78.7, 41.5, 13.1, 0.279, 0.253),
        "M2": (80.4, 44.3, 14.3, 0.331, 0.315),
        "M3": (81.7, 43.2, 14.3, 0.349, 0.324),
    }.items()
}


def key_of(one: Answer | Judgement) -> Key:
    return one.item, one.model, one.sample


def by_request(answers: Sequence[Answer]) -> dict[str, list[tuple[int, Answer]]]:
    """Those that people have ranked, each with its rank."""
    requests = defaultdict(list)
    for answer in answers:
        if answer.rank is not None:
            requests[answer.item].append((answer.rank, answer))
    return dict(requests)


def mean_scores(judgements: Sequence[Judgement]) -> dict[Key, float | None]:
    """Each judged answer's mean over its readable additive scores; None where none is readable."""
    readable: dict[Key, list[int]] = defaultdict(list)
    for judgement in judgements:
        scores = readable[key_of(judgement)]
        if judgement.verdict:
            scores.append(int(judgement.verdict))
    return {key: math.fsum(scores) / len(scores) if scores else None for key, scores in readable.items()}


def ranking(answers: Sequence[Answer], judgements: Sequence[Judgement]) -> Values:
    """The five figures and what they count, rates in per cent with 95 % intervals clustered by request.

    5-best is the share of answers of score 5 that people rank first of all the request's; exact match is the share of
    requests, every answer of which has a score, that judge and people order alike, ties included. None: nothing to
    count.
    """
    scores = mean_scores(judgements)
    requests = by_request(answers)
    scored = {
        item: [(rank, score) for rank, answer in of_item if (score := scores.get(key_of(answer))) is not None]
        for item, of_item in requests.items()
    }
    pairs = {item: found for item, both in scored.items() if (found := _pairs(both))}
    rankings = {item: scored[item] for item in pairs}
    tops = {item: min(rank for rank, _ in requests[item]) for item in pairs}
    fives = {item: [rank == tops[item] for rank, score in rankings[item] if score == FULL_SCORE] for item in pairs}
    whole = {item: both for item, both in rankings.items() if len(both) == len(requests[item])}
    worths = [worth for found in pairs.values() for worth in found]
    return {
        "requests": len(pairs),
        "requests_left_out": len(requests) - len(pairs),
        "answers": sum(map(len, rankings.values())),
        "unreadable": sum(map(len, requests.values())) - sum(map(len, scored.values())),
        "pairs": len(worths),
        "tied_pairs": round(100 * worths.count(0.5) / len(worths), 4) if worths else None,
        "pairwise_accuracy": _rate(pairs),
        "fives": sum(map(len, fives.values())),
        "five_best": _rate(fives),
        "ordered_whole": len(whole),
        "exact_match": _rate({item: [_is_exact(both)] for item, both in whole.items()}),
        "spearman": _mean([spearman(*_columns(both)) or 0.0 for both in rankings.values()]),
        "kendall": _mean([kendall(*_columns(both)) or 0.0 for both in rankings.values()]),
        "one_score_for_all": sum(len({score for _, score in both}) == 1 for both in rankings.values()),
        "published": PUBLISHED,
    }


def _pairs(both: Sequence[Both]) -> list[float]:
    """Of each pair that people rank apart: 1 where the judge scores it their way, ½ alike, 0 the other way."""
    return [
        0.5 if better == worse else float(better > worse)
        for (rank, better), (other_rank, worse) in combinations(sorted(both), 2)
        if rank < other_rank
    ]


def _is_exact(both: Sequence[Both]) -> bool:
    return all(
        better > worse if rank < other_rank else better == worse
        for (rank, better), (other_rank, worse) in combinations(sorted(both), 2)
    )


def _columns(both: Sequence[Both]) -> tuple[list[float], list[float]]:
    return [-rank for rank, _ in both], [score for _, score in both]


def _mean(values: Sequence[float]) -> float | None:
    return round(math.fsum(values) / len(values), 4) if values else None


def _rate(values: Mapping[str, Sequence[float]]) -> Values | None:
    """Of each request's shares. Where all requests come to the same, t has no width: Wilson's over requests then."""
    shares = {item: [100.0 * value for value in of_item] for item, of_item in values.items() if of_item}
    if not shares:
        return None
    found = paired_difference(shares)
    if found.low == found.high:
        return asdict(wilson(found.difference / 100 * len(shares), len(shares)))
    return asdict(Rate(found.difference, max(0.0, found.low), found.high))


def lines(found: Values) -> list[str]:
    """For the terminal."""
    if not found["requests"]:
        return [f"against people: no two answers that they rank apart have a score; {found['unreadable']} have none"]
    return [
        f"against people, {found['pairs']:,} pairs of {found['requests']:,} requests, {found['tied_pairs']:.1f} % of "
        f"them tied by the judge; {found['unreadable']:,} answers without a score",
        *[f"  {title}: {_figure(found[name])}" for name, title in FIGURES.items()],
        *[f"  published: {name}: {_published(row)}" for name, row in found["published"].items()],
    ]


def _figure(value: Values | float | None) -> str:
    if value is None:
        return "none"
    return str(Rate(**value)) if isinstance(value, dict) else f"{value:.3f}"


def _published(row: Mapping[str, float]) -> str:
    return ", ".join(f"{title} {row[name]:g}" for name, title in FIGURES.items())
