import math

import pytest
from scipy.stats import binomtest, pearsonr

from pacos.evaluate.agreement import cohen_kappa, compare_blind, kendall, sign_test, spearman, wilson
from pacos.results.figures import BlindComparison


@pytest.mark.parametrize(("successes", "n"), [(0, 252), (1, 252), (90, 179), (161, 252), (252, 252), (1, 1)])
def test_wilson_is_scipys(successes: int, n: int) -> None:
    found = wilson(successes, n)
    expected = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((100 * expected.low, 100 * expected.high), abs=1e-4)


def test_alpacas_90_to_89_is_no_difference() -> None:
    # Published as 90 against 89 blind wins; the interval is 43.0 to 57.5 (research note, by hand).
    found = compare_blind([1.0] * 90 + [0.0] * 89)
    assert found.win_rate is not None
    assert (round(found.win_rate.low, 1), round(found.win_rate.high, 1)) == (43.0, 57.5)
    assert found.sign_test_p == 1.0


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="not a rate"):
        wilson(0, 0)


def test_kappa_by_hand() -> None:
    # Cohen's classic table: both yes 20, both no 15, apart 5 and 10: observed 0.7, by chance 0.5, kappa 0.4.
    one = ["yes"] * 25 + ["no"] * 25
    other = ["yes"] * 20 + ["no"] * 5 + ["yes"] * 10 + ["no"] * 15
    assert cohen_kappa(one, other) == pytest.approx(0.4)
    assert cohen_kappa(one, one) == 1.0
    assert cohen_kappa(["A", "A"], ["A", "A"]) is None
    assert cohen_kappa([], []) is None


def test_spearman_is_pearson_of_the_ranks() -> None:
    # Ranks with ties at their mean, written out: 4,4,2,1 → 3.5,3.5,2,1 and 4,3,3,1 → 4,2.5,2.5,1.
    expected = pearsonr([3.5, 3.5, 2, 1], [4, 2.5, 2.5, 1]).statistic
    assert spearman([4, 4, 2, 1], [4, 3, 3, 1]) == pytest.approx(expected)
    assert spearman([1, 1, 1], [1, 2, 3]) is None


def test_kendall_takes_ties_out_of_the_pairs() -> None:
    # Of the six pairs four agree and none disagrees; each side ties one of the six: 4 / √(5 · 5).
    assert kendall([4, 4, 2, 1], [4, 3, 3, 1]) == pytest.approx(0.8)
    assert kendall([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert kendall([1, 1, 1], [1, 2, 3]) is None


def test_raters_of_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match="have 1 and 2 items"):
        cohen_kappa(["A"], ["A", "B"])


def test_sign_test_by_hand() -> None:
    # 8 of 9: 2 · (9 + 1) / 2⁹. Ties are left out by the caller.
    assert sign_test(8, 1) == pytest.approx(20 / 512)
    assert sign_test(1, 8) == pytest.approx(20 / 512)
    assert sign_test(0, 0) == 1.0


def test_ties_count_half() -> None:
    found = compare_blind([1.0, 0.5, 0.5, 0.0, 1.0])
    assert found.win_rate is not None
    assert (found.wins, found.ties, found.losses) == (2, 2, 1)
    assert found.win_rate.rate == 60.0
    # Deviations 0.4, 0.1, 0.1, 0.6, 0.4: variance 0.7 / 4, of the mean 0.7 / 20.
    assert found.standard_error == pytest.approx(100 * math.sqrt(0.7 / 20), abs=1e-3)
    assert compare_blind([]) == BlindComparison(n=0)
