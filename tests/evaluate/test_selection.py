import json
import random
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from pacos.errors import DataError
from pacos.evaluate.score import ScoredAnswer, ScoredEvaluation
from pacos.evaluate.selection import select, select_evaluation, selection_table, split_tasks
from tests.support.evaluation_folder import prediction, write_evaluation

RIGHT, WRONG = ("red", "red"), ("blue", "red")
TASKS = [f"task{number}" for number in range(12)]


def scored(name: str, scores: Mapping[str, Sequence[float]]) -> ScoredEvaluation:
    """An evaluation whose answers have these scores, by task."""
    answers = {
        (task, str(number)): ScoredAnswer(
            prediction(name, "s", task, str(number), "", "x", ["x"]),
            {"rougeL": score, "exact_match": score, "first_line_rougeL": score},
        )
        for task, values in scores.items()
        for number, score in enumerate(values)
    }
    return ScoredEvaluation(name, "s", Path(name), answers)


def test_a_gain_on_every_task_wins(tmp_path: Path) -> None:
    folders = [
        write_evaluation(tmp_path / "default", "default", {task: [WRONG, WRONG, RIGHT] for task in TASKS}),
        write_evaluation(tmp_path / "same", "same", {task: [WRONG, RIGHT, WRONG] for task in TASKS}),
        write_evaluation(
            tmp_path / "better", "better", {task: [RIGHT, RIGHT, (WRONG, RIGHT)[n % 2]] for n, task in enumerate(TASKS)}
        ),
    ]
    selection = select(folders, tmp_path / "out", seed=1)
    assert (selection.best, selection.winner) == ("better", "better")
    assert json.loads((tmp_path / "out" / "selection.json").read_text())["winner"] == "better"
    assert "winner: better" in selection_table(selection)


def test_a_gain_on_the_choosing_tasks_alone_wins_nothing() -> None:
    choosing, _ = split_tasks(TASKS, seed=3)
    default = scored("default", {task: [50.0, 50.0] for task in TASKS})
    lucky = scored("lucky", {task: [90.0, 80.0] if task in choosing else [40.0, 55.0] for task in TASKS})
    selection = select_evaluation([default, lucky], seed=3)
    assert (selection.best, selection.winner) == ("lucky", "")
    assert selection.reason.startswith("no winner: lucky is best on the tasks that choose, and not confirmed: -2.50")


def test_no_candidate_above_the_default_is_said() -> None:
    default = scored("default", {task: [50.0] for task in TASKS})
    worse = scored("worse", {task: [40.0] for task in TASKS})
    selection = select_evaluation([default, worse], seed=0)
    assert selection.best == selection.winner == ""
    assert selection.reason == "no winner: no candidate is above default on the tasks that choose"


def test_the_halves_are_disjoint_complete_and_repeat_with_their_seed() -> None:
    choosing, testing = split_tasks(reversed(TASKS), seed=7)
    assert sorted(choosing + testing) == sorted(TASKS)
    assert len(choosing) == len(testing) == 6
    assert split_tasks(TASKS, seed=7) == (choosing, testing) != split_tasks(TASKS, seed=8)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    default = write_evaluation(tmp_path / "default", "default", {task: [WRONG] for task in TASKS})
    with pytest.raises(DataError, match="absent: no such folder of an evaluation"):
        select([default, tmp_path / "absent"], tmp_path / "out", seed=1)


def test_three_tasks_are_too_few() -> None:
    with pytest.raises(DataError, match="the suite has 3 tasks, and half of them must choose and half test"):
        split_tasks(TASKS[:3], seed=0)


def test_sweeps_without_a_true_difference_rarely_have_a_winner() -> None:
    # A smaller version of benchmarks/sweep_selection.py: at 5 %, 6 or more of 40 have a chance of 1.4 %.
    draw = random.Random(0)
    winners = 0
    for seed in range(40):
        shared = {task: draw.gauss(50, 10) for task in TASKS}
        models = [
            scored(
                f"m{number}",
                {task: [level + draw.gauss(0, 5) + draw.gauss(0, 15)] for task, level in shared.items()},
            )
            for number in range(5)
        ]
        winners += bool(select_evaluation(models, seed=seed).winner)
    assert winners < 6
