"""`pacos filter` and `pacos curate`: rows that are no tasks, and folders that hold another dataset."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import DataError, OtherForm, RunError
from pacos.files import write_json
from pacos.generate.analyze import analyze
from pacos.generate.curate import curate, filter_file
from pacos.records import Rejection, Response, read_records, read_tasks
from pacos.results.dataset import DatasetStats, Funnel

GOOD = {"instruction": "Name three rivers that cross a border.", "input": "", "output": "Danube, Rhine, Meuse."}
ANSWER = (
    " Name three rivers that cross a border.\n4. Input:\n<noinput>\n4. Output:\nDanube, Rhine, Meuse.\n###\n"
    "5. Instruction: Explain why bread dough rises when warm.\n5. Input:\n<noinput>\n5. Output:\nYeast makes gas.\n"
)


def write_rows(path: Path, *rows: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def filtered(tasks: Path, out: Path) -> DatasetStats:
    return filter_file(tasks, out, None, FiltersConfig())


@pytest.mark.parametrize(
    "bad",
    [
        {"instruction": "How many legs does a spider have?", "output": 8},
        {"instruction": "Explain why bread dough rises.", "output": None},
        {"instruction": "List three colours of a traffic light.", "output": ["red", "amber"]},
        {"instruction": " ", "output": "x"},
        {"output": "x"},
    ],
)
def test_a_row_that_is_no_task_is_rejected_and_counted(
    tmp_path: Path, bad: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    tasks = write_rows(tmp_path / "tasks.jsonl", bad, GOOD)
    with caplog.at_level(logging.WARNING, "pacos"):
        stats = filtered(tasks, tmp_path / "out")
    assert (stats.funnel.items, stats.funnel.accepted, stats.funnel.rejected) == (2, 1, {"malformed": 1})
    [rejected] = read_records(tmp_path / "out" / "rejected.jsonl", Rejection)
    assert (rejected.reason, rejected.item, json.loads(rejected.raw)) == ("malformed", 1, bad)
    assert f"{tasks}:1" in caplog.text


def test_a_file_of_which_no_row_is_a_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks\.jsonl:1: `output` is missing"):
        filtered(
            write_rows(tmp_path / "tasks.jsonl", {"instruction": "Go."}, {"instruction": "Stay."}), tmp_path / "out"
        )


def test_a_conversation_among_tasks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OtherForm, match=r"tasks\.jsonl:2: `history`"):
        filtered(write_rows(tmp_path / "tasks.jsonl", GOOD, GOOD | {"history": [["a", "b"]]}), tmp_path / "out")


def test_nothing_kept_is_said_with_the_most_frequent_reason(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rows = [GOOD | {"instruction": text} for text in ("Hello there", "Go on", ": why is it so?")]
    with caplog.at_level(logging.WARNING, "pacos"):
        filtered(write_rows(tmp_path / "tasks.jsonl", *rows), tmp_path / "out")
    assert "nothing was kept" in caplog.text and "of 2 items, is too_short" in caplog.text


def test_another_dataset_is_never_written_over(tmp_path: Path) -> None:
    first = write_rows(tmp_path / "first.jsonl", GOOD)
    second = write_rows(tmp_path / "second.jsonl", GOOD | {"output": "Others."})
    filtered(first, tmp_path / "out")
    filtered(first, tmp_path / "out")
    with pytest.raises(RunError, match=r"holds another dataset, made from .*first\.jsonl"):
        filtered(second, tmp_path / "out")
    assert read_tasks(tmp_path / "out")[0].output == "Danube, Rhine, Meuse."


@pytest.mark.parametrize("beside", [None, "stats", "foreign"])
def test_a_dataset_that_was_generated_or_is_not_pacoss_is_never_written_over(
    tmp_path: Path, beside: str | None
) -> None:
    kept = write_rows(tmp_path / "run" / "dataset.jsonl", GOOD | {"output": "Kept."})
    if beside:
        write_json(tmp_path / "run" / "stats.json", {} if beside == "stats" else ["mean", 3])
    with pytest.raises(RunError, match="holds another dataset"):
        filtered(write_rows(tmp_path / "tasks.jsonl", GOOD), tmp_path / "run")
    assert read_tasks(kept)[0].output == "Kept."


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path, name: str) -> None:
    tasks = write_rows(tmp_path / "file", GOOD)
    with pytest.raises(RunError, match="cannot write"):
        filtered(tasks, tmp_path / name)


def test_curate_reads_an_answer_without_final_newline(tmp_path: Path) -> None:
    answers = [{"request": n, "text": ANSWER, "finish_reason": "stop"} for n in range(2)]
    stats = curate(write_rows(tmp_path / "responses.jsonl", *answers), tmp_path / "out", GenerateConfig())
    assert (stats.funnel.requests, stats.funnel.items, stats.funnel.accepted) == (2, 4, 2)


def test_curate_leaves_out_an_answer_that_was_cut_short_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [{"request": n, "text": ANSWER, "finish_reason": "stop"} for n in range(2)]
    path = write_rows(tmp_path / "responses.jsonl", *answers)
    path.write_bytes(path.read_bytes()[:-20])
    with caplog.at_level(logging.WARNING, "pacos"):
        assert curate(path, tmp_path / "out", GenerateConfig()).funnel.requests == 1
    assert f"{path}:2: the last line is cut short" in caplog.text


def test_curate_names_the_line_of_a_wrong_type(tmp_path: Path) -> None:
    answer = {"request": 0, "text": ANSWER, "finish_reason": "stop", "completion_tokens": "many"}
    with pytest.raises(DataError, match=r"responses\.jsonl:1: `completion_tokens` must be a whole number"):
        curate(write_rows(tmp_path / "responses.jsonl", answer), tmp_path / "out", GenerateConfig())


def test_a_record_without_final_newline_is_a_record(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "responses.jsonl", {"request": 0, "text": "", "finish_reason": "stop"})
    assert not path.read_bytes().endswith(b"\n")
    assert read_records(path, Response, torn_tail=True) == [Response(0, "", "stop")]


@pytest.mark.parametrize("content", ["mean: 3", "[]", '{"funnel": {"accepted": "x"}}', '{"funnel": 3}', "\xff"])
def test_a_strangers_statistics_are_passed_over(tmp_path: Path, content: str) -> None:
    data = write_rows(tmp_path / "data.jsonl", GOOD)
    (tmp_path / "stats.json").write_bytes(content.encode("latin-1"))
    assert analyze(data, tmp_path / "out", None).funnel == Funnel()
