"""Statistics of judgements, whoever judges: rates with intervals, agreement of two raters, blind comparisons.

A figure that the data do not define (agreement of raters who gave one and the same grade throughout) is None.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from pacos.results.figures import Rate

CONFIDENCE = 0.95


def wilson(successes: float, n: int) -> Rate:
    """Wilson's score interval (1927). `successes` may hold halves: a tie counts ½, which varies less than a
    win or a loss does, so the interval is then a little wide and never too narrow.

    Raises ValueError for n = 0, which has no rate.
    """
    from scipy.stats import norm

    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no rate")
    z2 = float(norm.ppf((1 + CONFIDENCE) / 2)) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Rate(round(100 * share, 4), round(100 * low, 4), round(100 * high, 4))


def cohen_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Agreement of two raters over the same items, corrected for chance (Cohen 1960), unweighted."""
    n = _paired(one, other)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    counts, others = Counter(one), Counter(other)
    expected = math.fsum(counts[grade] * others[grade] for grade in counts) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Rank correlation, ties at their mean rank."""
    from scipy.stats import spearmanr

    if _paired(one, other) < 2 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Rank correlation by pairs, τ-b: ties on either side are taken out of the denominator."""
    from scipy.stats import kendalltau

    if _paired(one, other) < 2 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(kendalltau(one, other).statistic)


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value of as lopsided a split between equals; ties take no part. 1 without any decision."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """Blind comparisons of one model with another, a tie as half a win. `standard_error` is that of the mean, in
    points, as AlpacaEval gives it; None for fewer than two comparisons."""

    n: int
    wins: int
    ties: int
    losses: int
    win_rate: Rate
    standard_error: float | None
    sign_test_p: float


def comparison(values: Sequence[float]) -> Comparison | None:
    """`values` lie in [0, 1]: 1 a win, ½ a tie, 0 a loss; a judge that weighs its verdicts gives values between."""
    n = len(values)
    if not n:
        return None
    wins, losses = sum(value > 0.5 for value in values), sum(value < 0.5 for value in values)
    mean = math.fsum(values) / n
    spread = math.fsum((value - mean) ** 2 for value in values)
    return Comparison(
        n=n,
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
        win_rate=wilson(math.fsum(values), n),
        standard_error=round(100 * math.sqrt(spread / (n - 1) / n), 4) if n > 1 else None,
        sign_test_p=sign_test(wins, losses),
    )


def _paired(one: Sequence[object], other: Sequence[object]) -> int:
    if len(one) != len(other):
        raise ValueError(f"raters of {len(one)} and {len(other)} items")
    return len(one)
