"""Files of judges, raters and models that others wrote: right values, or an error with the place."""

import csv
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.errors import DataError
from pacos.evaluate.export import export
from pacos.evaluate.judge.alpaca_eval import win_rates
from pacos.evaluate.judge.answers import read_answers
from pacos.evaluate.judge.grades import grade_file_agreement
from pacos.evaluate.review import pipeline
from pacos.evaluate.review.sheet import read_sheet
from pacos.evaluate.review.votes import read_ballots
from pacos.evaluate.score import score_file
from pacos.files import read_jsonl, write_jsonl
from pacos.records import read_tasks
from pacos.seeds import load_seeds
from pacos.superni.suites import read_suite

PREDICTION: dict[str, Any] = {
    "model": "m", "suite": "s", "task": "t", "instance": "i", "category": "c", "prompt_sha256": "",
    "prediction": "the red fox", "raw": "the red fox", "references": ["the red fox"], "rougeL": 0.0,
    "exact_match": 0.0, "finish_reason": "stop",
}  # fmt: skip


def unterminated(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def grades(path: Path, verdicts: str, **more: Any) -> Path:
    rows = [{"item": str(item), "model": "m", "verdict": verdict} | more for item, verdict in enumerate(verdicts)]
    return unterminated(path, *rows)


def test_the_last_grade_counts_without_a_final_newline(tmp_path: Path) -> None:
    found = grade_file_agreement(grades(tmp_path / "a", "ABD"), grades(tmp_path / "b", "ABA"))
    assert (found.n, found.only_first, found.only_second) == (3, 0, 0)
    assert found.agreement and found.agreement.rate == pytest.approx(100 * 2 / 3, abs=1e-3)


def test_a_grade_cut_short_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = grades(tmp_path / "a", "ABD")
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"a:3: not JSON"):
        grade_file_agreement(path, path)


def test_a_sample_that_is_null_is_the_first(tmp_path: Path) -> None:
    found = grade_file_agreement(grades(tmp_path / "a", "AB", sample=None), grades(tmp_path / "b", "AB"))
    assert found.n == 2


@pytest.mark.parametrize("more", [{"sample": "x"}, {"sample": 1.5}, {"model": None}, {"item": [1]}])
def test_a_grade_of_wrong_types_is_an_error_with_its_line(tmp_path: Path, more: dict[str, Any]) -> None:
    with pytest.raises(DataError, match=r"a:1: "):
        grade_file_agreement(grades(tmp_path / "a", "AB", **more), grades(tmp_path / "b", "AB"))


def test_two_grades_of_one_answer_are_refused(tmp_path: Path) -> None:
    rows = [{"item": "1", "model": "m", "verdict": verdict} for verdict in "AB"]
    with pytest.raises(DataError, match="graded twice"):
        grade_file_agreement(unterminated(tmp_path / "a", *rows), grades(tmp_path / "b", "AB"))


def test_the_last_prediction_counts_without_a_final_newline(tmp_path: Path) -> None:
    path = unterminated(tmp_path / "p.jsonl", PREDICTION, PREDICTION | {"instance": "j", "prediction": "no"})
    scores = score_file(path)
    # The first has all of its reference, the second none of it.
    assert (scores.n, scores.rougeL, scores.exact_match) == (2, 50.0, 50.0)


@pytest.mark.parametrize(
    "change",
    [{"references": "the red fox"}, {"references": [8]}, {"prediction": 8}, {"task": 1}, {"category": None}],
)
def test_predictions_of_wrong_types_are_an_error_with_their_line(tmp_path: Path, change: dict[str, Any]) -> None:
    path = unterminated(tmp_path / "p.jsonl", PREDICTION, PREDICTION | {"instance": "j"} | change)
    with pytest.raises(DataError, match=rf"p\.jsonl:2: `{next(iter(change))}` must be"):
        score_file(path)


def test_an_instance_id_of_tk_instruct_is_text_or_a_number(tmp_path: Path) -> None:
    row = {"Task": "task1_a", "Instance": {"id": 7, "output": ["x"]}, "Prediction": "x"}
    assert score_file(unterminated(tmp_path / "good.jsonl", row)).n == 1
    with pytest.raises(DataError, match=r"bad\.jsonl:1: `id` must be text"):
        score_file(unterminated(tmp_path / "bad.jsonl", row | {"Instance": {"id": None, "output": ["x"]}}))


@pytest.mark.parametrize("preference", [True, "1", [1], 0.5])
def test_a_preference_that_is_no_number_between_1_and_2_is_refused(tmp_path: Path, preference: Any) -> None:
    path = unterminated(tmp_path / "annotations.json", {"preference": preference})
    with pytest.raises(DataError, match="a preference lies between 1 and 2"):
        win_rates(path)


def test_half_a_character_is_an_error_with_its_row_in_every_file_of_texts(tmp_path: Path) -> None:
    half = "so happy \ud83d"
    rows: dict[str, dict[str, Any]] = {
        "tasks.jsonl": {"instruction": "Mood?", "input": half, "output": "x"},
        "seeds.jsonl": {"id": "s", "instruction": "Mood?", "instances": [{"input": half, "output": "x"}]},
        "answers.jsonl": {"instruction": "Mood?", "output": half, "model": "m"},
    }
    paths = {name: unterminated(tmp_path / name, row) for name, row in rows.items()}
    for read, name in (
        (read_tasks, "tasks.jsonl"), (load_seeds, "seeds.jsonl"), (read_suite, "seeds.jsonl"),
        (lambda path: read_answers([path]), "answers.jsonl"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=rf"{name}:1: a text has half a character"):
            read(paths[name])


def suite_export(folder: Path, base: Path, *ids: str) -> Path:
    """Exports a suite with these ids, from a folder deep enough to be left."""
    rows = [
        {"id": id, "motivation_app": "x", "instruction": f"Say {index}.", "instances": [{"input": "", "output": "hi"}]}
        for index, id in enumerate(ids)
    ]
    write_jsonl(folder / "suite.jsonl", rows)
    config = Config(
        name="run",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=EngineConfig(args={"max_model_len": 1024}),
        evaluate=EvaluateConfig(suites=[SuiteConfig(name="s", path=str(folder / "suite.jsonl"))]),
    )
    out = folder / "a" / "b" / "out"
    export(config, out)
    return out


def test_an_exported_task_stays_in_its_folder_whatever_its_id(tmp_path: Path, tiny_base: Path) -> None:
    ids = ["../../x", "/etc/x", "..", "a\0b", "_group", "x" * 300, "plain"]
    folder = suite_export(tmp_path, tiny_base, *ids) / "pacos_s"
    assert {path.name for path in tmp_path.iterdir()} == {"suite.jsonl", "a"}
    assert {path.name for path in (tmp_path / "a").iterdir()} == {"b"}
    rows = [row for path in folder.glob("*.jsonl") for _, row in read_jsonl(path)]
    assert sorted(row["id"] for row in rows) == sorted(f"{id}-0" for id in ids)
    assert (folder / "plain.jsonl").is_file()
    assert "group: pacos_s\n" in (folder / "_group.yaml").read_text(encoding="utf-8")


def test_an_export_writes_through_no_link(tmp_path: Path, tiny_base: Path) -> None:
    out = suite_export(tmp_path, tiny_base, "plain")
    victim = tmp_path / "victim"
    victim.write_text("mine", encoding="utf-8")
    for path in list((out / "pacos_s").iterdir()):
        path.unlink()
        path.symlink_to(victim)
    suite_export(tmp_path, tiny_base, "plain")
    assert victim.read_text(encoding="utf-8") == "mine"


def test_a_suite_of_any_name_is_reviewed_in_a_folder_of_the_run(tmp_path: Path) -> None:
    row = {"instruction": "Say hi.", "output": "Hi.", "model": "m"}
    answers = unterminated(tmp_path / f"{'x' * 200}.jsonl", row)
    folder = pipeline.begin("rating", [answers], n=1, seed=0)
    assert folder.parent == tmp_path / "review" and folder.is_dir()


def test_cells_and_notes_of_any_length_are_exported_and_imported(tmp_path: Path) -> None:
    row = {"id": "q", "instruction": "x" * 200_000, "output": "Hi.", "model": "m"}
    folder = pipeline.begin("rating", [unterminated(tmp_path / "answers.jsonl", row)], n=1, seed=0)
    sheet, limit = tmp_path / "sheet.csv", csv.field_size_limit()
    pipeline.export_sheet(folder, sheet)
    sheet.write_text(sheet.read_text(encoding="utf-8").replace(",Hi.,,", ",Hi.,A,"), encoding="utf-8")
    pipeline.import_votes(folder, sheet, "ann")
    assert read_ballots(folder / "votes.jsonl", read_sheet(folder))["ann"].given == {"0001": {"grade": "A"}}
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("content", [b"\xff\xfei\x00d\x00", b"id;caf\xe9\n", b"", b'id,sheet\n"unclosed'])
def test_a_spreadsheet_of_another_form_is_an_error(tmp_path: Path, content: bytes) -> None:
    row = {"id": "q", "instruction": "Say hi.", "output": "Hi.", "model": "m"}
    folder = pipeline.begin("rating", [unterminated(tmp_path / "answers.jsonl", row)], n=1, seed=0)
    (tmp_path / "sheet.csv").write_bytes(content)
    with pytest.raises(DataError, match=r"sheet\.csv"):
        pipeline.import_votes(folder, tmp_path / "sheet.csv", "ann")


@pytest.mark.parametrize("text", [" =1+1", "＝1+1", "\u00a0@x", "＋1"])
def test_a_formula_behind_blanks_or_in_full_width_is_escaped(tmp_path: Path, text: str) -> None:
    row = {"id": "q", "instruction": text, "output": "Hi.", "model": "m"}
    folder = pipeline.begin("rating", [unterminated(tmp_path / "answers.jsonl", row)], n=1, seed=0)
    pipeline.export_sheet(folder, tmp_path / "sheet.csv")
    with (tmp_path / "sheet.csv").open(encoding="utf-8-sig", newline="") as lines:
        assert next(csv.DictReader(lines))["instruction"] == f"'{text}"


@pytest.mark.parametrize(
    "change",
    [
        {"n": "many"},
        {"items": 3},
        {"items": [{"id": 1}]},
        {"kind": "none"},
        {"models": "m"},
        {"models": ["other"]},
    ],
)
def test_a_sheet_of_wrong_types_is_an_error(tmp_path: Path, change: dict[str, Any]) -> None:
    row = {"id": "q", "instruction": "Say hi.", "output": "Hi.", "model": "m"}
    folder = pipeline.begin("rating", [unterminated(tmp_path / "answers.jsonl", row)], n=1, seed=0)
    path = folder / ("key.json" if "models" in change else "sheet.json")
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | change), encoding="utf-8")
    with pytest.raises(DataError):
        read_sheet(folder)


def test_a_vote_of_wrong_types_is_an_error_with_its_line(tmp_path: Path) -> None:
    row = {"id": "q", "instruction": "Say hi.", "output": "Hi.", "model": "m"}
    folder = pipeline.begin("rating", [unterminated(tmp_path / "answers.jsonl", row)], n=1, seed=0)
    vote = {"at": "", "rater": "ann", "item": "0001", "question": "grade", "answer": "A", "seconds": "long"}
    with pytest.raises(DataError, match=r"votes\.jsonl:1: not a vote on this sheet: `seconds` must be a number"):
        read_ballots(unterminated(folder / "votes.jsonl", vote), read_sheet(folder))


def test_no_command_of_reading_dies_of_a_name_that_is_too_long(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 300}.jsonl"
    for read in (read_tasks, load_seeds, score_file, win_rates, lambda path: read_answers([path])):
        with pytest.raises(DataError, match=f"cannot be read: {os.strerror(errno.ENAMETOOLONG)}"):
            read(path)
