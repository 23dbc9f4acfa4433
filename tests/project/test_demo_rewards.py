from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demo.rewards import EMPTY, NEEDLESS, graded_answers, seed_rows
from pacos.config import load_config
from pacos.evaluate.judge.additive import ADDITIVE
from pacos.files import write_jsonl
from pacos.records import Task, read_tasks
from pacos.seeds import PACKAGED_SEEDS, load_seeds
from pacos.self_rewarding.ranked import read_ranked

Files = dict[str, list[Mapping[str, Any]]]
TaskTexts = tuple[str, str]

NORTH = Task("Which way does a compass needle point?", "", "To the magnetic north of the Earth, wherever you stand.")
SUM = Task("Add the numbers.", "2, 3", "5")


@pytest.fixture(scope="module")
def files() -> Files:
    return seed_rows(0)


@pytest.fixture(scope="module")
def right_answers() -> dict[TaskTexts, str]:
    tasks = [seed.task for seed in load_seeds(PACKAGED_SEEDS)]
    return {(task.instruction, task.input): task.output for task in tasks}


def requests(rows: list[Mapping[str, Any]]) -> list[TaskTexts]:
    return [(row["instruction"], row["input"]) for row in rows]


def judged_requests(files: Files, asked: set[TaskTexts]) -> set[TaskTexts]:
    """Those of `asked` that stand in a judge's prompt."""
    prompts = [row["instruction"] for row in files["judging.jsonl"]]
    return {
        (instruction, given)
        for instruction, given in asked
        if any(f"task]\n{instruction}\n" in prompt and (not given or f"\n{given}\n" in prompt) for prompt in prompts)
    }


def test_graded_answers_are_worth_zero_to_five_points() -> None:
    nothing, repeated, wrong, partly, needless, right = graded_answers(NORTH, [NORTH, SUM], Random(0))
    assert nothing.output in EMPTY
    assert repeated.output == "Which way does a compass needle point?"
    assert wrong.output == "5"
    assert partly.output == "To the magnetic"  # three of ten words
    assert needless.output in [f"{NORTH.output}\n{remark}" for remark in NEEDLESS]
    assert right.output == NORTH.output
    assert [one.score for one in (nothing, repeated, wrong, partly, needless, right)] == [0, 1, 2, 3, 4, 5]


def test_an_answer_too_short_to_be_cut_is_followed_by_another() -> None:
    assert graded_answers(SUM, [NORTH, SUM], Random(0))[3].output == f"5\n{NORTH.output}"


def test_the_six_answers_to_every_seed_task_differ() -> None:
    tasks = [seed.task for seed in load_seeds(PACKAGED_SEEDS)]
    for task in tasks:
        assert len({one.output for one in graded_answers(task, tasks, Random(0))}) == 6


def test_a_seed_gives_the_same_rows_again_and_another_gives_others(files: Files) -> None:
    assert seed_rows(0) == files
    assert seed_rows(1)["ranked.jsonl"] != files["ranked.jsonl"]


def test_every_seed_task_is_in_one_file(files: Files, right_answers: dict[TaskTexts, str]) -> None:
    learned, ranked = requests(files["instructions.jsonl"]), set(requests(files["ranked.jsonl"]))
    judged = judged_requests(files, set(right_answers))
    assert (len(learned), len(judged), len(ranked)) == (67, 48, 60)
    assert set(learned) | judged | ranked == set(right_answers)
    assert len(right_answers) == 67 + 48 + 60


def test_instructions_have_the_right_answers(files: Files, right_answers: dict[TaskTexts, str]) -> None:
    rows = files["instructions.jsonl"]
    assert [row["output"] for row in rows] == [right_answers[request] for request in requests(rows)]


def test_a_request_has_three_or_four_answers_and_the_first_alone_is_right(
    files: Files, right_answers: dict[TaskTexts, str]
) -> None:
    by_id = defaultdict(list)
    for row in files["ranked.jsonl"]:
        by_id[row["id"]].append(row)
    assert {len(rows) for rows in by_id.values()} == {3, 4}
    for rows in by_id.values():
        assert [row["rank"] for row in rows] == list(range(len(rows)))
        [request] = set(requests(rows))
        assert [row["output"] == right_answers[request] for row in rows] == [True] + [False] * (len(rows) - 1)


def test_a_judgement_is_read_as_the_points_it_gives_and_each_score_is_given_as_often(files: Files) -> None:
    verdicts = [ADDITIVE.read_verdict(row["output"], "stop") for row in files["judging.jsonl"]]
    assert verdicts == [row["output"][-1] for row in files["judging.jsonl"]]
    assert Counter(verdicts) == dict.fromkeys("012345", 24)


def test_what_the_trainer_reads_are_tasks(files: Files, tmp_path: Path) -> None:
    for name in ("instructions.jsonl", "judging.jsonl"):
        write_jsonl(tmp_path / name, files[name])
        assert [task.output for task in read_tasks(tmp_path / name)] == [row["output"] for row in files[name]]


def test_what_the_judge_is_measured_on_is_read_as_ranked_answers(files: Files, tmp_path: Path) -> None:
    rows = files["ranked.jsonl"]
    write_jsonl(tmp_path / "ranked.jsonl", rows)
    found = read_ranked(str(tmp_path / "ranked.jsonl"))
    assert all(request.is_ranked for request in found)
    read = [(request.id, *answer) for request in found for answer in request.answers]
    assert read == [(row["id"], row["output"], row["rank"]) for row in rows]


def test_the_quickstart_trains_on_these_files_and_holds_some_requests_out(files: Files) -> None:
    loop = load_config(Path("configs/self-rewarding-quickstart.yaml")).loop
    named = [*(source.path for source in [*loop.instructions, *loop.judging]), loop.ranked]
    assert [Path(str(path)).name for path in named] == list(files)
    assert loop.held_aside < len({row["id"] for row in files["ranked.jsonl"]})
