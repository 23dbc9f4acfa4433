"""Statistics of judgements by people or models: rates with intervals, agreement of two raters, blind comparisons.

A figure that is undefined for the data (kappa of raters who gave one and the same grade throughout) is None.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence

from pacos.evaluate.intervals import CONFIDENCE
from pacos.results.figures import Agreement, BlindComparison, Rate


def wilson(successes: float, n: int) -> Rate:
    """Share of successes with Wilson's score interval (1927), in per cent.

    `successes` may hold halves: a tie counts ½, which varies less than a win or a loss does, so the interval is then a
    little wide and never too narrow. Raises ValueError for n = 0.
    """
    from scipy.stats import norm

    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a rate")
    z2 = float(norm.ppf((1 + CONFIDENCE) / 2)) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    # At the ends the formula gives 0 and 1 up to rounding.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Rate(round(100 * share, 4), round(100 * low, 4), round(100 * high, 4))


def rate(successes: float, n: int) -> Rate | None:
    """`wilson`, or None where there is nothing to count."""
    return wilson(successes, n) if n else None


def cohen_kappa(one: Sequence[Hashable], other: Sequence[Hashable]) -> float | None:
    """Chance-corrected agreement of two raters on the same items (Cohen 1960), unweighted."""
    n = _paired(one, other)
    if not n:
        return None
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    counts, others = Counter(one), Counter(other)
    expected = math.fsum(counts[grade] * others[grade] for grade in counts) / n**2
    return None if expected == 1 else (observed - expected) / (1 - expected)


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's rank correlation, ties at their mean rank; None for a constant side."""
    from scipy.stats import spearmanr

    if _paired(one, other) < 2 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(spearmanr(one, other).statistic)


def kendall(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Kendall's τ-b, which takes ties on either side out of the denominator; None for a constant side."""
    from scipy.stats import kendalltau

    if _paired(one, other) < 2 or len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(kendalltau(one, other).statistic)


def sign_test(wins: int, losses: int) -> float:
    """Exact two-sided p-value of the split between wins and losses; 1 where there are neither."""
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0


def compare_blind(values: Sequence[float]) -> BlindComparison:
    """Sum up blind comparisons: 1 is a win, ½ a tie, 0 a loss; a weighted verdict lies in between."""
    n = len(values)
    if not n:
        return BlindComparison()
    wins, losses = sum(value > 0.5 for value in values), sum(value < 0.5 for value in values)
    mean = math.fsum(values) / n
    spread = math.fsum((value - mean) ** 2 for value in values)
    return BlindComparison(
        n=n,
        wins=wins,
        ties=n - wins - losses,
        losses=losses,
        win_rate=wilson(math.fsum(values), n),
        standard_error=round(100 * math.sqrt(spread / (n - 1) / n), 4) if n > 1 else None,
        sign_test_p=sign_test(wins, losses),
    )


def agree(one: Sequence[Hashable], other: Sequence[Hashable]) -> Agreement:
    """Agreement of two raters' verdicts on the same items."""
    n = _paired(one, other)
    same = sum(a == b for a, b in zip(one, other, strict=True))
    return Agreement(n=n, agreement=rate(same, n), kappa=cohen_kappa(one, other))


def _paired(one: Sequence[object], other: Sequence[object]) -> int:
    if len(one) != len(other):
        raise ValueError(f"the raters have {len(one)} and {len(other)} items")
    return len(one)
