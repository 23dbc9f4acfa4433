"""SuperNI's x-lingual track: by which tokenizer ROUGE-L is taken, where that is recorded, and what stands beside it."""

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.errors import DataError
from pacos.evaluate.baselines import published_scores, write_baseline
from pacos.evaluate.compare import compare
from pacos.evaluate.evaluation import keep_answers, read_evaluation, write_evaluation
from pacos.evaluate.export import export
from pacos.evaluate.metrics import best_rouge_l, best_rouge_l_of_pieces
from pacos.evaluate.pipeline import plan
from pacos.evaluate.score import read_predictions, read_scored, score_file
from pacos.evaluate.tracks import suite_tokenizer
from pacos.files import write_jsonl
from pacos.superni.suites import read_suite
from tests.support import evaluation_folder
from tests.support.gpt2_reference import AWKWARD, published_pieces
from tests.support.superni_folder import write_superni

ANSWERS = ["ये सही है", "数学の問題", "Да, конечно", "نعم"]
HINDI = {"task1_hi": [(text, text) for text in ANSWERS]}


class PublishedTokenizer:
    """What compute_metrics.py hands to rouge_score for `--track xlingual`."""

    def tokenize(self, text: str) -> list[str]:
        return published_pieces(text)


def suite(folder: Path, *, track: str = "default", references: list[str] = ANSWERS) -> Path:
    instances = [{"id": f"i{at}", "input": f"{text}?", "output": [text]} for at, text in enumerate(references)]
    example = {"input": "x", "output": references[0], "explanation": ""}
    write_superni(folder, {"task1_hi": {"Instances": instances, "Positive Examples": [example]}})
    (folder / "splits" / "default").rename(folder / "splits" / track)
    return folder


def tk_instruct(path: Path, answers: list[str]) -> Path:
    rows = [
        {"Task": "task1_hi", "Instance": {"id": str(at), "output": [text]}, "Prediction": text, "Categories": ["X"]}
        for at, text in enumerate(answers)
    ]
    write_jsonl(path, rows)
    return path


@given(st.lists(st.sampled_from([*AWKWARD, "yes", "Yes", "no"]), max_size=4).map(" ".join), st.text(max_size=30))
@settings(deadline=None)
def test_rouge_l_of_pieces_is_rouge_scores_with_the_published_tokenizer(prediction: str, reference: str) -> None:
    scorer = RougeScorer(["rougeL"], tokenizer=PublishedTokenizer())
    for target in (reference, prediction.upper(), f"{prediction} {reference}"):
        expected = 100 * scorer.score(target, prediction)["rougeL"].fmeasure
        assert best_rouge_l_of_pieces(prediction, [target]) == expected


@pytest.mark.parametrize("text", ANSWERS)
def test_a_perfect_answer_scores_100_over_pieces_and_0_over_rouges_own_tokens(text: str) -> None:
    assert (best_rouge_l_of_pieces(text, [text]), best_rouge_l(text, [text])) == (100.0, 0.0)


def test_the_track_of_a_file_decides_its_tokenizer(tmp_path: Path) -> None:
    # Half of the references are English, so that nothing but the track tells.
    path = tk_instruct(tmp_path / "p.jsonl", ["ये सही है", "数学の問題", "yes", "no"])
    default, xlingual = score_file(path, track="default"), score_file(path, track="xlingual")
    assert (default.rougeL, default.tokenizer) == (50.0, "rouge")
    assert (xlingual.rougeL, xlingual.tokenizer) == (100.0, "gpt2")
    assert default.exact_match == xlingual.exact_match == 100.0
    assert "ROUGE-L over GPT-2's pieces" in xlingual.note


def test_the_leaderboards_x_lingual_references_are_scored_over_pieces(tmp_path: Path) -> None:
    rows = [{"id": str(at), "references": [text], "track": "xlingual"} for at, text in enumerate(ANSWERS)]
    write_jsonl(tmp_path / "references.jsonl", rows)
    write_jsonl(tmp_path / "p.jsonl", [{"id": str(at), "prediction": text} for at, text in enumerate(ANSWERS)])
    out = tmp_path / "scores.json"
    scores = score_file(tmp_path / "p.jsonl", out, references=tmp_path / "references.jsonl", track="xlingual")
    assert scores.rougeL == 100.0
    assert json.loads(out.read_text(encoding="utf-8"))["tokenizer"] == "gpt2"


def test_references_that_rouge_cannot_read_are_never_a_silent_0(tmp_path: Path) -> None:
    all_unread = score_file(tk_instruct(tmp_path / "a.jsonl", ANSWERS))
    assert (all_unread.rougeL, all_unread.tokenizer) == (100.0, "gpt2")
    some = score_file(tk_instruct(tmp_path / "b.jsonl", ["yes", "no", "नमस्ते", "?"]))
    assert (some.rougeL, some.tokenizer) == (50.0, "rouge")
    assert "; 1 have no reference with a word of a–z, and score 0 whatever the answer" in some.note


def test_the_official_x_lingual_tasks_are_known_without_their_track(shared_data: Path, tmp_path: Path) -> None:
    names = (shared_data / "superni" / "splits" / "xlingual" / "test_tasks.txt").read_text(encoding="utf-8").split()
    rows = [{"Task": name, "Instance": {"id": name, "output": ["B"]}, "Prediction": "B"} for name in names]
    write_jsonl(tmp_path / "p.jsonl", rows)
    assert score_file(tmp_path / "p.jsonl").tokenizer == "gpt2"
    write_jsonl(tmp_path / "p.jsonl", rows[1:])
    assert score_file(tmp_path / "p.jsonl").tokenizer == "rouge"


@pytest.mark.parametrize(
    ("track", "references", "chosen", "expected"),
    [
        ("xlingual", ["A", "B"], "auto", "gpt2"),
        ("default", ["red", "blue"], "auto", "rouge"),
        ("default", ["red", "naïve café", "ये सही है"], "auto", "rouge"),
        ("chinese", ["红色", "蓝色"], "auto", "gpt2"),
        ("xlingual", ["A", "B"], "rouge", "rouge"),
        ("default", ["red", "blue"], "gpt2", "gpt2"),
    ],
)
def test_a_suite_is_scored_by_its_choice_its_track_or_what_its_references_need(
    tmp_path: Path, track: str, references: list[str], chosen: str, expected: str
) -> None:
    folder = suite(tmp_path / "suite", track=track, references=references)
    path = folder / "splits" / track / "test_tasks.txt"
    config = SuiteConfig.model_validate({"name": "s", "path": str(path), "tokenizer": chosen})
    assert suite_tokenizer(config, read_suite(path)) == expected


def test_baselines_and_comparison_record_the_tokenizer(tmp_path: Path) -> None:
    path = suite(tmp_path / "suite", track="xlingual")
    config, read = SuiteConfig(name="superni", path=str(path)), read_suite(path)
    for name in ("copy-input", "copy-demonstration"):
        write_baseline(name, config, read, tmp_path / name)
        score_file(tmp_path / name / "predictions.jsonl", tmp_path / name / "scores.json")
    found = compare([tmp_path / "copy-input", tmp_path / "copy-demonstration"], tmp_path)
    assert found.tokenizer == "gpt2" and "GPT-2's pieces" in found.note
    # Each input is its reference and a question mark: one piece more, and none of the words is lost.
    assert 60 < found.base.rougeL < 100
    [first, *_] = read_predictions(tmp_path / "copy-demonstration" / "predictions.jsonl")
    assert first.rougeL == 100.0


def test_evaluations_by_different_tokenizers_are_not_compared(tmp_path: Path) -> None:
    folders = [evaluation_folder.write_evaluation(tmp_path / name, name, HINDI) for name in ("a", "b")]
    record = read_evaluation(folders[1])
    assert record
    write_evaluation(folders[1], replace(record, settings=replace(record.settings, tokenizer="rouge")))
    with pytest.raises(DataError, match="`tokenizer` is 'gpt2' for a and 'rouge' for b"):
        compare(folders, tmp_path)


def test_published_figures_stand_beside_their_own_tokenizer_alone() -> None:
    assert {row.rougeL for row in published_scores(3_500, "gpt2")} == {5.44, 50.31, 51.20, 53.74, 56.72}
    assert published_scores(3_500, "rouge") == published_scores(11_810, "gpt2") == []
    assert len(published_scores(11_810, "rouge")) == 17


def test_an_earlier_evaluation_of_the_x_lingual_track_is_scored_over_pieces(tmp_path: Path) -> None:
    folder = evaluation_folder.write_evaluation(tmp_path, "m", {"task1_hi": [("B", "B"), ("हाँ", "हाँ")]})
    record = read_evaluation(folder)
    assert record and record.settings.tokenizer == ""
    assert score_file(folder / "predictions.jsonl").tokenizer == "rouge"
    write_evaluation(folder, replace(record, settings=replace(record.settings, n_expected=3_500)))
    assert score_file(folder / "predictions.jsonl").rougeL == 100.0


def test_another_tokenizer_scores_the_answers_again_and_asks_nothing(tmp_path: Path) -> None:
    folder = evaluation_folder.write_evaluation(tmp_path, "m", HINDI)
    record = read_evaluation(folder)
    assert record
    for tokenizer, expected in (("rouge", 0.0), ("gpt2", 100.0), ("rouge", 0.0)):
        now = replace(record.settings, tokenizer=tokenizer)
        assert keep_answers(folder, now) and not list(folder.glob("superseded-*"))
        scored = read_scored(folder, recorded=True)
        assert scored.tokenizer == tokenizer
        assert {answer.scores["rougeL"] for answer in scored.answers.values()} == {expected}


def test_the_plan_and_the_harness_score_over_pieces(tmp_path: Path, tiny_base: Path) -> None:
    path = suite(tmp_path / "suite", track="xlingual")
    config = Config(
        name="run",
        runs_dir=str(tmp_path / "runs"),
        model=ModelConfig(base=str(tiny_base), dtype="float32"),
        engine=EngineConfig(args={"max_model_len": 1024}),
        evaluate=EvaluateConfig(suites=[SuiteConfig(name="superni", path=str(path))]),
    )
    assert "superni: ROUGE-L over GPT-2's pieces, as on the x-lingual track" in plan(config)
    export(config, tmp_path / "out")
    spec = importlib.util.spec_from_file_location("exported", tmp_path / "out" / "pacos_superni" / "metrics.py")
    assert spec and spec.loader
    exported = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(exported)
    for answer in (" ये सही है", "数学", ""):
        found = exported.process_results({"references": ANSWERS}, [answer])
        assert found["rougeL"] == best_rouge_l_of_pieces(answer.strip(), ANSWERS)
