"""Measures a judge's scores against people's ranking of the same answers: the five figures of Self-Rewarding LMs.

Yuan et al. (2401.10020, section 3.1) leave open how ties count. Here a pair that people rank apart and the judge
scores alike counts ½, and the share of such pairs is reported beside the accuracy; a request whose answers all have
one score adds a correlation of 0. Answers without a readable score are left out and counted.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations

from pacos.evaluate.agreement import kendall, spearman, wilson
from pacos.evaluate.intervals import paired_difference
from pacos.evaluate.judge.answers import JudgedAnswer
from pacos.evaluate.judge.kinds import AnswerKey, answer_key
from pacos.results.figures import Rate
from pacos.results.judging import PublishedRanking, Ranking

# An answer's rank (0 the best) and its mean score.
RankedScore = tuple[int, float]

FULL_SCORE = 5.0

RANKING_FIGURES = {
    "pairwise_accuracy": "pairwise accuracy",
    "five_best": "5-best",
    "exact_match": "exact match",
    "spearman": "Spearman",
    "kendall": "Kendall τ",
}
# From a transcription of 2401.10020, on Open Assistant's rankings with 2.85 answers to a request. Not measured here.
PUBLISHED_RANKINGS = {
    model: PublishedRanking(**dict(zip(RANKING_FIGURES, figures, strict=True)))
    for model, figures in {
        "SFT baseline": (65.1, 39.6, 10.1, 0.253, 0.233),
        "M1": (78.7, 41.5, 13.1, 0.279, 0.253),
        "M2": (80.4, 44.3, 14.3, 0.331, 0.315),
        "M3": (81.7, 43.2, 14.3, 0.349, 0.324),
    }.items()
}


def by_request(answers: Sequence[JudgedAnswer]) -> dict[str, list[tuple[int, JudgedAnswer]]]:
    """Return {item: [(rank, answer)]} of the answers that people have ranked."""
    requests = defaultdict(list)
    for answer in answers:
        if answer.rank is not None:
            requests[answer.item].append((answer.rank, answer))
    return dict(requests)


def rank_figures(answers: Sequence[JudgedAnswer], scores: Mapping[AnswerKey, float | None]) -> Ranking:
    """Return the five figures and what they count, from each judged answer's mean score."""
    requests = by_request(answers)
    scored = {
        item: [(rank, score) for rank, answer in of_item if (score := scores.get(answer_key(answer))) is not None]
        for item, of_item in requests.items()
    }
    pairs = {item: points for item, both in scored.items() if (points := _pair_points(both))}
    rankings = {item: scored[item] for item in pairs}
    best = {item: min(rank for rank, _ in requests[item]) for item in pairs}
    fives = {item: [rank == best[item] for rank, score in rankings[item] if score == FULL_SCORE] for item in pairs}
    complete = {item: both for item, both in rankings.items() if len(both) == len(requests[item])}
    all_points = [point for points in pairs.values() for point in points]
    return Ranking(
        requests=len(pairs),
        requests_left_out=len(requests) - len(pairs),
        answers=sum(map(len, rankings.values())),
        unreadable=sum(map(len, requests.values())) - sum(map(len, scored.values())),
        pairs=len(all_points),
        tied_pairs=round(100 * all_points.count(0.5) / len(all_points), 4) if all_points else None,
        pairwise_accuracy=_clustered_rate(pairs),
        fives=sum(map(len, fives.values())),
        five_best=_clustered_rate(fives),
        ordered_whole=len(complete),
        exact_match=_clustered_rate({item: [_same_order(both)] for item, both in complete.items()}),
        spearman=_mean([spearman(*_columns(both)) or 0.0 for both in rankings.values()]),
        kendall=_mean([kendall(*_columns(both)) or 0.0 for both in rankings.values()]),
        one_score_for_all=sum(len({score for _, score in both}) == 1 for both in rankings.values()),
        published=PUBLISHED_RANKINGS,
    )


def _pair_points(both: Sequence[RankedScore]) -> list[float]:
    """1 for each pair that people rank apart and the judge scores their way, ½ scored alike, 0 the other way."""
    return [
        0.5 if better == worse else float(better > worse)
        for (rank, better), (other_rank, worse) in combinations(sorted(both), 2)
        if rank < other_rank
    ]


def _same_order(both: Sequence[RankedScore]) -> bool:
    return all(
        better > worse if rank < other_rank else better == worse
        for (rank, better), (other_rank, worse) in combinations(sorted(both), 2)
    )


def _columns(both: Sequence[RankedScore]) -> tuple[list[float], list[float]]:
    return [-rank for rank, _ in both], [score for _, score in both]


def _mean(values: Sequence[float]) -> float | None:
    return round(math.fsum(values) / len(values), 4) if values else None


def _clustered_rate(by_item: Mapping[str, Sequence[float]]) -> Rate | None:
    """The mean of {request: shares}, clustered by request; Wilson's interval over requests where all have one value,
    because t then has no width."""
    shares = {item: [100.0 * value for value in values] for item, values in by_item.items() if values}
    if not shares:
        return None
    found = paired_difference(shares)
    if found.low == found.high:
        return wilson(found.difference / 100 * len(shares), len(shares))
    return Rate(found.difference, max(0.0, found.low), found.high)


def ranking_lines(found: Ranking) -> list[str]:
    """Return the figures as lines for the terminal."""
    if not found.requests:
        return [f"against people: no two answers that they rank apart have a score; {found.unreadable} have none"]
    return [
        f"against people, {found.pairs:,} pairs of {found.requests:,} requests, {found.tied_pairs:.1f} % of "
        f"them tied by the judge; {found.unreadable:,} answers without a score",
        *[f"  {title}: {_figure(getattr(found, name))}" for name, title in RANKING_FIGURES.items()],
        *[f"  published: {model}: {_published_line(row)}" for model, row in found.published.items()],
    ]


def _figure(value: Rate | float | None) -> str:
    if value is None:
        return "none"
    return str(value) if isinstance(value, Rate) else f"{value:.3f}"


def _published_line(row: PublishedRanking) -> str:
    return ", ".join(f"{title} {getattr(row, name):g}" for name, title in RANKING_FIGURES.items())
