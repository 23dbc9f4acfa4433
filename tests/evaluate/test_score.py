import json
import random
import re
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pacos.config import SuiteConfig
from pacos.errors import DataError
from pacos.evaluate.baselines import baselines, write_baseline
from pacos.evaluate.compare import compare
from pacos.evaluate.metrics import Metric, best_exact_match, best_rouge_l, normalise, postprocess
from pacos.evaluate.score import read_scored, score_file
from pacos.extensions import METRICS
from pacos.files import write_jsonl
from pacos.records import Prediction
from pacos.results import read_result
from pacos.results.evaluation import CategoryScores, MeanScores, Scores, TaskScores
from pacos.superni.tasks import read_test_split
from tests.support.evaluation_folder import prediction, write_evaluation


def published_exact_match(prediction: str, reference: str) -> bool:
    """natural-instructions' rule, written again: drop punctuation character by character, fix white space."""

    def plain(text: str) -> str:
        kept = "".join(character for character in text.lower() if character not in string.punctuation)
        return re.sub(r"\s+", " ", kept).strip()

    return plain(prediction) == plain(reference)


WORDS = ["The", "cats", "running", "ran", "it's", "42", "café", "a.b", "\n", "—", "Generalization"]
texts = st.text() | st.lists(st.sampled_from(WORDS)).map(" ".join)
SCORER = RougeScorer(["rougeL"], use_stemmer=True)


@settings(deadline=None)
@given(texts, st.lists(texts, min_size=1, max_size=4))
def test_metrics_are_the_published_ones_for_any_text(prediction: str, references: list[str]) -> None:
    assert best_rouge_l(prediction, references) == 100 * max(
        SCORER.score(reference, prediction)["rougeL"].fmeasure for reference in references
    )
    assert best_exact_match(prediction, references) == 100.0 * any(
        published_exact_match(prediction, reference) for reference in references
    )


def test_exact_match_ignores_case_punctuation_and_spacing_but_not_articles() -> None:
    assert normalise("  The  Cat's, out! ") == "the cats out"
    assert (best_rouge_l("Yes.", ["yes"]), best_exact_match("Yes.", ["yes"])) == (100.0, 100.0)
    assert best_exact_match("the cat", ["cat"]) == 0.0


def test_the_best_reference_counts() -> None:
    assert best_rouge_l("a red ball", ["blue", "red ball"]) == pytest.approx(80.0)


def test_an_empty_answer_scores_nothing() -> None:
    assert (best_rouge_l("", ["red"]), best_exact_match("", ["red"])) == (0.0, 0.0)


def test_the_average_is_over_instances_and_not_over_tasks(tmp_path: Path) -> None:
    folder = write_evaluation(
        tmp_path,
        "m",
        {"one": [("red", "red"), ("red", "red"), ("red", "red")], "two": [("red", "blue")]},
        categories={"one": "colours", "two": "errors"},
    )
    scores = score_file(folder / "predictions.jsonl")
    assert (scores.rougeL, scores.exact_match, scores.n) == (75.0, 75.0, 4)
    assert scores.per_task["two"] == TaskScores(0.0, 0.0, n=1, category="errors")
    assert scores.per_category["colours"] == CategoryScores(100.0, 100.0, n=3, tasks=1)


def test_first_line_scores_tell_stopping_from_solving(tmp_path: Path) -> None:
    folder = write_evaluation(tmp_path, "m", {"one": [("red\nand then it rambles on and on", "red")]})
    scores = score_file(folder / "predictions.jsonl")
    assert scores.exact_match == 0.0 and scores.rougeL < 50
    assert scores.first_line == MeanScores(100.0, 100.0)


def test_scores_do_not_depend_on_the_order_of_the_answers(tmp_path: Path) -> None:
    answers = [(" ".join(random.Random(i).choices("abcdefg", k=9)), "a b c d e f g") for i in range(50)]
    path = write_evaluation(tmp_path, "m", {"one": answers}) / "predictions.jsonl"
    first = score_file(path)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(0).shuffle(lines)
    path.write_text("".join(lines), encoding="utf-8")
    assert score_file(path) == first


def test_a_part_of_a_suite_says_so(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path, "m", {"one": [("red", "red"), ("red", "blue")]}) / "predictions.jsonl"
    assert score_file(path).complete
    path.write_text(path.read_text(encoding="utf-8").splitlines(keepends=True)[0], encoding="utf-8")
    scores = score_file(path)
    assert (scores.n, scores.n_expected, scores.complete) == (1, 2, False)
    assert scores.note == "1 of 2 instances: not comparable with published numbers"


def test_predictions_alone_claim_no_completeness_and_are_scored_again(tmp_path: Path) -> None:
    path, out = tmp_path / "p.jsonl", tmp_path / "scores.json"
    write_jsonl(path, [prediction("m", "s", "t", "1", "c", "red", ["red"])])
    scores = score_file(path, out)
    assert (scores.rougeL, scores.n_expected, scores.complete) == (100.0, 0, False)
    assert json.loads(out.read_text(encoding="utf-8"))["rougeL"] == 100.0


def one(**keys: object) -> dict[str, object]:
    row = prediction("m", "s", "t", "1", "c", "red", ["red"])
    return {name: getattr(row, name) for name in Prediction.__dataclass_fields__} | keys


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no predictions"),
        ([one(), one()], r"p\.jsonl:2: instance '1' of t is answered twice"),
        ([one(), one(model="other", instance="2")], "several models"),
        ([one(), one(instance="2", references=[])], r"p\.jsonl:2: instance '2' of t has no references"),
        ([{"prediction": "red"}], ":1: missing"),
    ],
)
def test_a_file_that_cannot_be_scored_says_why(tmp_path: Path, rows: list[dict[str, object]], message: str) -> None:
    write_jsonl(tmp_path / "p.jsonl", rows)
    with pytest.raises(DataError, match=message):
        score_file(tmp_path / "p.jsonl")


@pytest.mark.parametrize("name", ["copy-input", "copy-demonstration"])
def test_baselines_on_the_real_slice_score_as_rouge_score_says(name: str, shared_data: Path, tmp_path: Path) -> None:
    suite = read_test_split(shared_data / "superni", limit=10)
    assert name in baselines(suite)
    write_baseline(name, SuiteConfig(name="superni", path="there"), suite, tmp_path)
    scores = score_file(tmp_path / "predictions.jsonl")
    expected = []
    for instance in suite.instances:
        header = json.loads((shared_data / "superni" / "tasks" / f"{instance.task}.json").read_text(encoding="utf-8"))
        copied = instance.input if name == "copy-input" else header["Positive Examples"][0]["output"]
        expected.append(max(SCORER.score(reference, copied)["rougeL"].fmeasure for reference in instance.references))
    assert scores.rougeL == round(100 * sum(expected) / len(expected), 4)
    assert not scores.complete and scores.n_expected == 11_810
    assert str(scores).startswith(f"{name} on superni: 320 of 11,810 instances: not comparable")


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("none", "Yes. It\nis\n\nInput: ### x"),
        ("first-line", "Yes. It"),
        ("first-period", "Yes"),
        ("first-paragraph", "Yes. It\nis"),
    ],
)
def test_what_of_a_completion_counts_as_the_answer(rule: str, kept: str) -> None:
    assert postprocess(rule)("\n Yes. It\nis\n\nInput: ### x\n") == kept
    assert postprocess(rule)("  ") == ""


def test_a_further_metric_needs_its_object_and_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "characters", "tests.evaluate.test_score:CHARACTERS")
    folders = [
        write_evaluation(tmp_path / name, name, {"t": [(text, "red")]}) for name, text in (("a", "x"), ("b", "yz"))
    ]
    assert read_result(folders[1] / "scores.json", Scores, todo="").metrics["characters"] == 2
    found = compare(folders, tmp_path)
    assert found.further_metrics == ["characters"] and found.contestants[0].against_base["characters"].difference == 1
    assert found.per_task["t"].scores["b"]["characters"] == 2


CHARACTERS = Metric("characters", lambda answer, references: float(len(answer)))


def test_recorded_scores_are_used_and_only_first_lines_are_scored(tmp_path: Path) -> None:
    row = replace(prediction("m", "s", "t", "1", "c", "red\nmore", ["red"]), rougeL=12.0, exact_match=34.0)
    write_jsonl(tmp_path / "predictions.jsonl", [row])
    [answer] = read_scored(tmp_path, recorded=True).answers.values()
    assert answer.scores == {"rougeL": 12.0, "exact_match": 34.0, "first_line_rougeL": 100.0}


def test_scores_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    path = tmp_path / "scores.json"
    write_evaluation(tmp_path, "m", {"t": [("red", "red")]})
    values = json.loads(path.read_text(encoding="utf-8"))
    del values["metrics"]
    path.write_text(json.dumps(values | {"prompt": {}, "adapter": {}, "base": {}}), encoding="utf-8")
    scores = read_result(path, Scores, todo="")
    assert (scores.rougeL, scores.prompt.preset, scores.base.model, scores.metrics) == (100.0, "", "", {})
    assert not scores.is_baseline
