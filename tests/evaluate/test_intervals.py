import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t, ttest_1samp

from pacos.evaluate.intervals import holm, paired_difference


def test_equal_tasks_without_skew_give_the_classical_t_interval_of_task_means() -> None:
    # Task means 2, 5 and 8: mean 5, standard deviation 3, standard error √3.
    found = paired_difference({"a": [1, 3], "b": [4, 6], "c": [7, 9]})
    half = 4.302653 * math.sqrt(3)
    assert found.difference == 5.0
    assert (found.low, found.high) == pytest.approx((5 - half, 5 + half), abs=1e-3)
    assert (found.n, found.tasks, found.wins, found.ties, found.losses) == (6, 3, 3, 0, 0)


def test_unequal_tasks_by_hand() -> None:
    # Sums 0 and 12 over 1 and 3 instances: mean 3; without one task 4 and 0, so the variance is (1 + 9) / 2 = 5.
    # Effective tasks 16 / 10, hence 0.6 degrees of freedom.
    found = paired_difference({"a": [0], "b": [3, 4, 5]})
    half = t.ppf(0.975, 0.6) * math.sqrt(5)
    assert found.difference == 3.0
    assert found.high == pytest.approx(min(100, 3 + half), abs=1e-3)
    assert (found.wins, found.ties) == (1, 1)


def test_one_task_that_moves_alone_widens_the_interval_by_hand() -> None:
    # Means 0, 0, 0 and 8: mean 2, error 2, G1 = 2; z = 1.959964 gives z⁴ + 2z² − 3 = 19.4399.
    found = paired_difference({"a": [0], "b": [0], "c": [0], "d": [8]})
    half = 3.182446 * (1 + 4 * 19.4399 / (18 * 4)) * 2
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-3)


def test_the_p_value_and_the_detectable_difference_go_with_the_interval() -> None:
    # Of equal tasks with means 2, 5 and 8: scipy's one-sample t-test, and the textbook's (t.975 + t.8) × error.
    found = paired_difference({"a": [1, 3], "b": [4, 6], "c": [7, 9]})
    assert found.p == pytest.approx(ttest_1samp([2, 5, 8], 0).pvalue)
    assert found.detectable == pytest.approx((4.302653 + 1.060660) * math.sqrt(3), abs=1e-3)
    assert paired_difference({"a": [5, 6]}).p == 1.0
    assert paired_difference({"a": [2, 2], "b": [2]}).p == 0.0


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=12))
def test_p_is_below_5_percent_where_the_interval_leaves_out_0(means: list[float]) -> None:
    found = paired_difference({str(task): [mean, mean] for task, mean in enumerate(means)})
    if abs(found.low) > 1e-3 and abs(found.high) > 1e-3:  # bounds are rounded
        assert (found.p < 0.05) == found.is_clear


def test_holm_by_hand() -> None:
    # 0.01 × 3, then 0.03 × 2, then 0.04 × 1, which may not fall below the one before.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_one_task_says_nothing_of_others() -> None:
    found = paired_difference({"a": [5, 6, 7]})
    assert (found.difference, found.low, found.high) == (6.0, -100.0, 100.0)
    assert not found.is_clear


def test_the_same_difference_everywhere_has_no_width() -> None:
    found = paired_difference({"a": [2, 2], "b": [2], "c": [2, 2, 2]})
    assert (found.difference, found.low, found.high) == (2.0, 2.0, 2.0)
    assert found.is_clear
    same = paired_difference({"a": [0, 0], "b": [0]})
    assert (same.low, same.high, same.ties, same.is_clear) == (0.0, 0.0, 2, False)


@settings(deadline=None)
@given(
    st.dictionaries(st.text(max_size=3), st.lists(st.floats(-100, 100), min_size=1, max_size=9), min_size=1, max_size=9)
)
def test_intervals_are_finite_hold_the_difference_and_mirror(by_task: dict[str, list[float]]) -> None:
    found = paired_difference(by_task)
    assert -100 <= found.low <= found.difference <= found.high <= 100
    assert found.wins + found.ties + found.losses == found.tasks
    mirrored = paired_difference({task: [-value for value in values] for task, values in by_task.items()})
    assert (mirrored.low, mirrored.high, mirrored.wins) == (-found.high, -found.low, found.losses)


@pytest.mark.parametrize("tasks", [6, 12])
def test_95_percent_intervals_hold_the_truth_95_percent_of_the_time(tasks: int) -> None:
    """Task effects are normal around a true difference of 3; within a task the answers scatter ten times as much.
    Other shapes are in benchmarks/intervals.py."""
    random = np.random.default_rng(tasks)
    draws, held = 600, 0
    for _ in range(draws):
        sizes = random.integers(10, 101, tasks)
        effects = random.normal(3, 6, tasks)
        by_task = {str(task): random.normal(effects[task], 20, sizes[task]).tolist() for task in range(tasks)}
        found = paired_difference(by_task)
        held += found.low <= 3 <= found.high
    # Three standard errors of 600 draws at 95 % are 2.7 points.
    assert 0.923 <= held / draws <= 0.985
