from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest

from demo.families import FAMILIES, compose, is_correct
from demo.overlap import SuiteIndex
from demo.rewards import graded_answers, seed_rows
from pacos.config_file import load_config
from pacos.evaluate.judge_prompts import read_verdict
from pacos.evaluate.reward.ranked import read_ranked
from pacos.records import Task, read_tasks, write_jsonl

Files = dict[str, list[Mapping[str, Any]]]


@pytest.fixture(scope="module")
def files() -> Files:
    return seed_rows(0)


def requests(rows: list[Mapping[str, Any]]) -> set[tuple[str, str]]:
    return {(row["instruction"], row["input"]) for row in rows}


def answered(row: Mapping[str, Any]) -> Task:
    return Task(row["instruction"], row["input"], row["output"])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_of_the_graded_answers_the_best_alone_is_right(family) -> None:
    rng = Random(family.name)
    for task in (compose(family, rng) for _ in range(20)):
        graded = graded_answers(task, rng)
        assert [one.score for one in graded] == [0, 1, 2, 2, 3, 4, 5]
        right = [is_correct(Task(task.instruction, task.input, one.output)) for one in graded]
        assert right == [False] * 6 + [True]


def test_a_seed_gives_the_same_rows_again_and_another_gives_others(files: Files) -> None:
    assert seed_rows(0) == files
    assert seed_rows(1)["ranked.jsonl"] != files["ranked.jsonl"]


def test_instructions_are_answered_right(files: Files) -> None:
    assert all(is_correct(answered(row)) for row in files["instructions.jsonl"])


def test_a_request_has_three_or_four_answers_and_the_first_alone_is_right(files: Files) -> None:
    by_id = defaultdict(list)
    for row in files["ranked.jsonl"]:
        by_id[row["id"]].append(row)
    assert {len(rows) for rows in by_id.values()} == {3, 4}
    for rows in by_id.values():
        assert [row["rank"] for row in rows] == list(range(len(rows)))
        assert len(requests(rows)) == 1
        assert [is_correct(answered(row)) for row in rows] == [True] + [False] * (len(rows) - 1)


def test_a_judgement_is_read_as_the_points_it_gives_and_all_six_occur(files: Files) -> None:
    verdicts = [read_verdict("additive", row["output"], "stop") for row in files["judging.jsonl"]]
    assert verdicts == [row["output"][-1] for row in files["judging.jsonl"]]
    assert set(verdicts) == set("012345")


def test_the_three_files_share_no_request(files: Files) -> None:
    learnt, measured = requests(files["instructions.jsonl"]), requests(files["ranked.jsonl"])
    assert learnt.isdisjoint(measured)
    judged = [row["instruction"] for row in files["judging.jsonl"]]
    for instruction, given in learnt | measured:
        asked = f"task]\n{instruction}\n"
        assert not any(asked in prompt and (not given or f"input]\n{given}\n" in prompt) for prompt in judged)


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


def test_no_text_of_the_suite_is_in_the_seeds(files: Files) -> None:
    texts = {row[key] for rows in files.values() for row in rows for key in ("instruction", "input", "output")}
    lines = {line for text in texts for line in text.splitlines()}
    assert SuiteIndex().overlaps(sorted(texts | lines)) == []


def test_the_quickstart_learns_from_these_files_and_holds_some_requests_aside(files: Files) -> None:
    loop = load_config(Path("configs/self-rewarding-quickstart.yaml")).loop
    named = [*(source.path for source in [*loop.instructions, *loop.judging]), loop.ranked]
    assert [Path(str(path)).name for path in named] == list(files)
    assert loop.held_aside < len({row["id"] for row in files["ranked.jsonl"]})
