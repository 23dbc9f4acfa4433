"""Confidence intervals of a difference between two models, clustered by task.

The answers to one task are correlated, so 1,200 instances of 12 tasks are 12 observations, not 1,200.
The interval is the delete-one-task jackknife of the micro average with Student's t, whose degrees of freedom
are Kish's effective number of tasks less one: with equal tasks that is the classical cluster-t, and a few large
tasks count as the few they are.

Where few tasks change much and most do not, t is too narrow. The critical value grows with the tasks' squared skewness
by the term of that order in the Edgeworth expansion of |t| (Hall, The Bootstrap and Edgeworth Expansion, 1992, sections
2.6 and 3.5), as in a symmetric bootstrap-t without its random draws. Simulated coverage is in benchmarks/intervals.py.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pacos.results.figures import Difference

CONFIDENCE = 0.95
POWER = 0.8

# Scores lie on 0–100, so no difference lies outside.
WORST, BEST = -100.0, 100.0

# Smaller p-values are reported as twice this.
LEAST_TAIL = 1e-16


def paired_difference(by_task: Mapping[str, Sequence[float]]) -> Difference:
    """Interval of the mean over all instances; `by_task` holds each task's paired differences, 0–100 scale.

    Wins, ties and losses count tasks by the sign of their mean.
    """
    sums = [math.fsum(values) for values in by_task.values()]
    sizes = [len(values) for values in by_task.values()]
    mean = math.fsum(sums) / sum(sizes)
    spread = jackknife(sums, sizes)
    half = spread.critical((1 - CONFIDENCE) / 2) * spread.error if spread.freedom else BEST - WORST
    signs = [0 if abs(total) < 1e-9 else math.copysign(1, total) for total in sums]
    return Difference(
        difference=round(mean, 4),
        low=round(max(WORST, mean - half), 4),
        high=round(min(BEST, mean + half), 4),
        n=sum(sizes),
        tasks=len(sizes),
        wins=signs.count(1),
        ties=signs.count(0),
        losses=signs.count(-1),
        p=p_value(mean, spread),
        detectable=round(min(BEST, half + spread.t(1 - POWER) * spread.error), 4) if spread.freedom else BEST,
    )


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard error of a micro average over tasks, its degrees of freedom, and the skewness of the tasks' shares."""

    error: float
    freedom: float
    skewness: float

    def t(self, tail: float) -> float:
        """The value that Student's t exceeds with probability `tail`."""
        from scipy.stats import t

        return float(t.isf(tail, self.freedom))

    def critical(self, tail: float) -> float:
        """The value that |difference / error| exceeds with probability 2 × `tail` where there is no difference."""
        from scipy.stats import norm

        z = float(norm.isf(tail))
        excess = self.skewness**2 * (z**4 + 2 * z**2 - 3) / (18 * (self.freedom + 1))
        return self.t(tail) * (1 + max(0.0, excess))


def jackknife(sums: Sequence[float], sizes: Sequence[int]) -> Spread:
    """Spread of the micro average, from each task's sum of differences and number of instances; all zero for one
    task."""
    tasks = len(sums)
    if tasks < 2:
        return Spread(0.0, 0.0, 0.0)
    total, n = math.fsum(sums), sum(sizes)
    without_one = [(total - of_task) / (n - size) for of_task, size in zip(sums, sizes, strict=True)]
    pulls = [total / n - value for value in without_one]
    variance = (tasks - 1) / tasks * math.fsum(pull**2 for pull in pulls)
    return Spread(math.sqrt(variance), n**2 / sum(size**2 for size in sizes) - 1, skewness(pulls))


def skewness(values: Sequence[float]) -> float:
    """Fisher's G1, the sample skewness without its bias under normality; 0 for fewer than three or equal values."""
    from scipy.stats import skew

    if len(values) < 3 or max(values) - min(values) < 1e-9:
        return 0.0
    return float(skew(values, bias=False))


def p_value(mean: float, spread: Spread) -> float:
    """Two-sided, of no difference: the level at which the interval would just touch 0."""
    from scipy.optimize import brentq
    from scipy.stats import norm

    if not spread.freedom or abs(mean) < 1e-9:
        return 1.0
    if not spread.error:
        return 0.0
    reached = abs(mean) / spread.error
    if spread.critical(LEAST_TAIL) <= reached:
        return 2 * LEAST_TAIL
    z = brentq(lambda z: spread.critical(float(norm.sf(z))) - reached, 0.0, float(norm.isf(LEAST_TAIL)))
    return float(2 * norm.sf(z))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values adjusted for their number: at most 5 % of families have a false positive (Holm 1979)."""
    adjusted, highest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        highest = max(highest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = highest
    return adjusted
