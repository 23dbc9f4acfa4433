"""Predictions in the formats of Tk-Instruct and the leaderboard, against another implementation of the metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer

from pacos.errors import DataError
from pacos.evaluate.score import score_file
from pacos.files import write_jsonl

ANSWERED = [("a", ["red ball", "ball"], "a red ball"), ("b", ["yes"], "Yes."), ("c", ["the long title"], "a title")]


def published_rouge(pairs: list[tuple[str, list[str]]]) -> float:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    best: list[float] = [
        max(scorer.score(reference, text)["rougeL"].fmeasure for reference in refs) for text, refs in pairs
    ]
    return round(100 * sum(best) / len(best), 4)


def tk_instruct(**keys: Any) -> dict[str, Any]:
    return {"Task": "task1_x", "Instance": {"id": "1", "input": "?", "output": ["red"]}, "Prediction": "red"} | keys


def references(path: Path, **keys: Any) -> Path:
    rows = [{"id": id, "references": refs, "task_id": f"task_{id}", "task_category": "Data to Text"} | keys
            for id, refs, _ in ANSWERED]  # fmt: skip
    write_jsonl(path, rows)
    return path


def test_tk_instructs_file_is_scored_as_its_script_scores_it(tmp_path: Path) -> None:
    rows = [
        tk_instruct(
            Task=f"task_{id}", Instance={"id": id, "output": refs}, Prediction=text, Categories=["Word Analogy"]
        )
        for id, refs, text in ANSWERED
    ]
    rows += [tk_instruct(Task="task1415_bad"), tk_instruct(Task="task121_atomic_question_rewriting")]
    write_jsonl(tmp_path / "p.jsonl", rows)
    scores = score_file(tmp_path / "p.jsonl")
    assert scores.rougeL == published_rouge([(text, refs) for _, refs, text in ANSWERED] + [("red", ["red"])])
    assert scores.exact_match == 50.0
    assert scores.per_task.keys() == {"task_a", "task_b", "task_c", "task121_zest_question_rewriting"}
    assert scores.per_category["word_analogy"].n == 3


def test_the_leaderboards_file_counts_what_is_missing_as_empty(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"id": id, "prediction": text} for id, _, text in ANSWERED[:2]])
    scores = score_file(tmp_path / "p.jsonl", references=references(tmp_path / "r.jsonl"))
    answers = [text for _, _, text in ANSWERED[:2]] + [""]
    assert scores.rougeL == published_rouge(
        [(text, refs) for text, (_, refs, _) in zip(answers, ANSWERED, strict=True)]
    )
    assert scores.n == 3 and scores.note.endswith("1 without a prediction, scored as empty")
    assert scores.per_category.keys() == {"data_to_text"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"id": "z", "prediction": ""}], r"p\.jsonl:1: .*r\.jsonl has no reference for the id 'z'"),
        ([{"id": "a", "prediction": ""}] * 2, r"p\.jsonl:2: duplicate id 'a'"),
        ([{"id": "a"}], r"p\.jsonl:1: `prediction` is missing"),
    ],
)
def test_a_leaderboard_file_that_cannot_be_scored_says_where(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    write_jsonl(tmp_path / "p.jsonl", rows)
    with pytest.raises(DataError, match=message):
        score_file(tmp_path / "p.jsonl", references=references(tmp_path / "r.jsonl"))


def test_missing_references_are_an_error(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "p.jsonl", [{"id": "a", "prediction": ""}])
    with pytest.raises(DataError, match=r"without references\n.*--references"):
        score_file(tmp_path / "p.jsonl")
    with pytest.raises(DataError, match=r"r\.jsonl: no such file"):
        score_file(tmp_path / "p.jsonl", references=tmp_path / "r.jsonl")
    with pytest.raises(DataError, match=r"s\.jsonl: holds no default track, but: xlingual"):
        score_file(tmp_path / "p.jsonl", references=references(tmp_path / "s.jsonl", track="xlingual"))
    with pytest.raises(DataError, match=r"t\.jsonl:1: `references` must be a list"):
        score_file(tmp_path / "p.jsonl", references=references(tmp_path / "t.jsonl", references=[]))


def test_predictions_of_the_other_track_are_an_error_and_not_a_zero(tmp_path: Path) -> None:
    rows = [{"id": "1", "references": ["oui"], "task_id": "t9", "track": "xlingual"}]
    rows += [{"id": "2", "references": ["yes"], "task_id": "t1", "track": "default"}]
    write_jsonl(tmp_path / "r.jsonl", rows)
    write_jsonl(tmp_path / "p.jsonl", [{"id": "1", "prediction": "oui"}])
    with pytest.raises(DataError, match=r"p\.jsonl: holds no predictions of the default track\n.*--track"):
        score_file(tmp_path / "p.jsonl", references=tmp_path / "r.jsonl")
    assert score_file(tmp_path / "p.jsonl", references=tmp_path / "r.jsonl", track="xlingual").rougeL == 100.0
    (tmp_path / "empty.jsonl").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"empty\.jsonl: holds no predictions$"):
        score_file(tmp_path / "empty.jsonl", references=tmp_path / "r.jsonl")


def test_a_file_of_references_is_not_taken_for_predictions(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"its rows are no predictions, but have id, references, task_category, task_id"
    ):
        score_file(references(tmp_path / "r.jsonl"))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (tk_instruct(), r":2: instance '1' of task1_x is answered twice"),
        (tk_instruct(Instance={}), r":2: `Instance.output` must be a list"),
        (tk_instruct(Prediction=None), r":2: `Prediction` must be text"),
    ],
)
def test_a_tk_instruct_file_that_cannot_be_scored_says_where(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    (tmp_path / "p.jsonl").write_text(f"{json.dumps(tk_instruct())}\n{json.dumps(row)}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message):
        score_file(tmp_path / "p.jsonl")
