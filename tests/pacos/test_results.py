"""Results read back from disk: what is damaged or forged is an error with file and key, whichever result it is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import DataError
from pacos.evaluate.compare import compare
from pacos.results import plain, read_result
from pacos.results.comparison import Comparison
from pacos.results.evaluation import Evaluation, Scores
from pacos.results.figures import BlindComparison, Rate
from pacos.results.judging import GradeFigures
from pacos.results.manifest import read_manifest
from pacos.results.review import PublishedReview, RaterPair, RaterResults, ReviewResults
from pacos.results.rounds import ScoreMargin
from tests.support.evaluation_folder import write_evaluation

Values = dict[str, Any]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`comparison.json`, and `scores.json` and `evaluation.json` of the evaluations it compares."""
    answers = {"one": [("red", "red")], "two": [("red", "blue")]}
    folders = [write_evaluation(tmp_path / name, name, answers) for name in ("base", "tuned")]
    compare(folders, tmp_path)
    return tmp_path


def damage(path: Path, change: Callable[[Values], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("rougeL", "17.06", "`rougeL`: Input should be a valid number"),
        ("rougeL", None, "`rougeL`: Input should be a valid number"),
        ("rougeL", True, "`rougeL`: Input should be a valid number"),
        ("rougeL", float("nan"), "`rougeL`: is not a finite number"),
        ("rougeL", 10**400, "`rougeL`: is not a finite number"),
        ("n", 2.5, "`n`: Input should be a valid integer"),
        ("complete", 1, "`complete`: Input should be a valid boolean"),
        ("per_task", [], "`per_task`: Input should be "),
        ("per_task", {"one": {"rougeL": float("inf")}}, "`per_task.one.rougeL`: is not a finite number"),
        ("prompt", {"preset": 5}, "`prompt.preset`: Input should be a valid string"),
    ],
)
def test_a_value_of_another_type_is_named(folder: Path, key: str, value: object, message: str) -> None:
    path = folder / "base" / "scores.json"
    damage(path, lambda values: values.update({key: value}))
    with pytest.raises(DataError, match=rf"scores\.json: {message}[^\n]*\n  → evaluate again"):
        read_result(path, Scores, todo="evaluate again")


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"\xff\xfe{}", b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_what_is_no_json_object_is_named(folder: Path, content: bytes) -> None:
    path = folder / "base" / "evaluation.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"evaluation\.json: [^\n]*\n  → evaluate again"):
        read_result(path, Evaluation, todo="evaluate again")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda values: values["contestants"].clear(), "there are no contestants"),
        (lambda values: values["per_task"].clear(), "there are no contestants, categories or tasks"),
        (lambda values: values["per_task"]["one"]["scores"].pop("tuned"), "'one' has no ROUGE-L of 'tuned'"),
        (lambda values: values["contestants"][0]["against_base"].pop("rougeL"), "'tuned' is not compared by ROUGE-L"),
        (lambda values: values["contestants"][0]["per_category"].clear(), "'tuned' is not compared by ROUGE-L"),
        (lambda values: values["base"]["metrics"].update(f1=1.0), "'tuned' has no 'f1'"),
    ],
)
def test_a_comparison_whose_parts_are_at_odds_is_refused(
    folder: Path, change: Callable[[Values], object], message: str
) -> None:
    damage(folder / "comparison.json", change)
    with pytest.raises(DataError, match=rf"comparison\.json: .*{message}"):
        read_result(folder / "comparison.json", Comparison, todo="evaluate again")


def review(kind: str, figures: GradeFigures | BlindComparison, agreement: Rate | None) -> Values:
    raters = {"ann": RaterResults(answered=1, skipped=0, models={"m": figures})}
    pair = RaterPair(one="ann", other="bob", n=3, agreement=agreement)
    values: Values = plain(
        ReviewResults(
            kind=kind, name="x", n=1, seed=1, population=1, items=1, baseline="", raters=raters, agreement=[pair],
            judge=None, published=PublishedReview(),
        )
    )  # fmt: skip
    return values


def test_a_reviews_figures_are_those_of_its_kind(tmp_path: Path) -> None:
    grades, rate = GradeFigures(counts={"A": 1, "B": 0, "C": 0, "D": 0}, n=1), Rate(50.0, 10.0, 90.0)
    sound = review("rating", grades, rate)
    path = tmp_path / "review.json"
    path.write_text(json.dumps(sound), encoding="utf-8")
    assert plain(read_result(path, ReviewResults, todo="")) == sound
    lacking = json.loads(json.dumps(sound))
    del lacking["raters"]["ann"]["models"]["m"]["counts"]["D"]
    unrated = json.loads(json.dumps(sound))
    unrated["agreement"][0]["agreement"] = None
    for values, message in (
        (sound | {"kind": "pairwise"}, "the figures of 'ann' are not those of a pairwise review"),
        (lacking, "the figures of 'ann' are not those of a rating review"),
        (unrated, "an agreement on items has no rate"),
    ):
        path.write_text(json.dumps(values), encoding="utf-8")
        with pytest.raises(DataError, match=message):
            read_result(path, ReviewResults, todo="")


def test_keys_that_json_makes_text_are_numbers_again(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"mean": 1, "counts": {"2": 3}}', encoding="utf-8")
    assert read_result(tmp_path / "m.json", ScoreMargin, todo="") == ScoreMargin(1.0, {2: 3})


def test_a_manifests_stage_always_has_both_counts_of_tokens(tmp_path: Path) -> None:
    stage = {"status": "done", "config_sha256": "", "started": "", "tokens": {"prompt": 3}}
    (tmp_path / "manifest.json").write_text(json.dumps({"name": "r", "stages": {"generate": stage}}), encoding="utf-8")
    assert read_manifest(tmp_path).stages["generate"].tokens == {"prompt": 3, "completion": 0}
