import json
from dataclasses import replace
from pathlib import Path

import pytest

from pacos.errors import DataError
from pacos.evaluate.baselines import published_scores
from pacos.evaluate.comparable import MUST_BE_EQUAL
from pacos.evaluate.compare import compare, comparison_table
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.evaluation import write_evaluation as write_record
from pacos.report.render import render_comparison
from pacos.results import plain, read_result
from pacos.results.comparison import Comparison, PublishedScore
from tests.support.evaluation_folder import write_evaluation

RIGHT, WRONG = ("red", "red"), ("blue", "red")
BASE = {"one": [WRONG, WRONG], "two": [WRONG, RIGHT], "three": [RIGHT, RIGHT]}
TUNED = {"one": [RIGHT, RIGHT], "two": [WRONG, RIGHT], "three": [RIGHT, WRONG]}
CATEGORIES = {"one": "tagging", "two": "tagging", "three": "titles"}


def pair(folder: Path) -> list[Path]:
    return [
        write_evaluation(folder / "base", "base", BASE, categories=CATEGORIES),
        write_evaluation(folder / "tuned", "tuned", TUNED, categories=CATEGORIES),
    ]


def test_the_difference_is_paired_by_instance_and_counted_by_task(tmp_path: Path) -> None:
    found = compare(pair(tmp_path), tmp_path)
    (tuned,) = found.contestants
    against = tuned.against_base["exact_match"]
    # Task means of the difference are +100, 0 and -50.
    assert against.difference == pytest.approx(100 / 6, abs=1e-3)
    assert (against.wins, against.ties, against.losses, against.tasks) == (1, 1, 1, 3)
    assert against.low < 0 < against.high
    assert found.per_task["one"].scores["tuned"]["rougeL"] == 100.0
    assert found.per_category["tagging"].tasks == 2
    assert tuned.per_category["titles"]["rougeL"].low == -100.0
    assert json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8")) == plain(found)
    assert read_result(tmp_path / "comparison.json", Comparison, todo="") == found


def test_the_table_shows_each_model_with_its_interval(tmp_path: Path) -> None:
    text = comparison_table(compare(pair(tmp_path), tmp_path))
    assert "base" in text and "+16.67 [" in text and "1 tasks won, 1 lost" in text


def test_the_first_line_difference_ignores_rambling(tmp_path: Path) -> None:
    rambling = {"one": [("red\nand more and more", "red")] * 2, "two": [("red\nand so on", "red")] * 2}
    stopping = {"one": [RIGHT, RIGHT], "two": [RIGHT, RIGHT]}
    folders = [write_evaluation(tmp_path / "b", "b", rambling), write_evaluation(tmp_path / "t", "t", stopping)]
    (tuned,) = compare(folders, tmp_path).contestants
    assert tuned.against_base["rougeL"].difference > 50
    assert tuned.against_base["first_line_rougeL"].difference == 0.0


def test_evaluations_that_do_not_match_are_refused(tmp_path: Path) -> None:
    base = write_evaluation(tmp_path / "base", "base", BASE)
    others = {
        "`suite` is 'superni' for base and 'other' for a": write_evaluation(tmp_path / "a", "a", BASE, suite="other"),
        "`prompt` is 'alpaca' for base and 'tk-instruct:def' for b": write_evaluation(
            tmp_path / "b", "b", BASE, prompt="tk-instruct:def"
        ),
        "2 instances are answered by one of base and c only": write_evaluation(tmp_path / "c", "c", BASE | {"one": []}),
        "1 instances have other references, the first of them '0' of one": write_evaluation(
            tmp_path / "d", "d", BASE | {"one": [("red", "green"), WRONG]}
        ),
    }
    for message, other in others.items():
        with pytest.raises(DataError, match=message):
            compare([base, other], tmp_path)
    with pytest.raises(DataError, match="two evaluations or more"):
        compare([base], tmp_path)


def changed(folder: Path, **settings: object) -> Path:
    """The evaluation, with other settings in its record."""
    record = read_evaluation(folder)
    assert record
    write_record(folder, replace(record, settings=replace(record.settings, **settings)))  # type: ignore[arg-type]
    return folder


# One of each kind of difference: the setting, and its value for the base and for the other.
DIFFERENCES = [
    ("max_tokens", 128, 16),
    ("postprocess", "none", "first-line"),
    ("prompt_sha256", "1" * 64, "2" * 64),
    ("system", "", "Be brief."),
    ("demonstrations", 0, 2),
    ("suite_sha256", "1" * 64, "2" * 64),
    ("max_source_tokens", 1024, 0),
    ("tokenizer", "rouge", "gpt2"),
    ("n_expected", 6, 7),
]


def test_every_setting_that_must_be_equal_is_among_those_that_are_tried() -> None:
    assert {key for key, _, _ in DIFFERENCES} | {"suite", "prompt"} == set(MUST_BE_EQUAL)


@pytest.mark.parametrize(("key", "ours", "theirs"), DIFFERENCES)
def test_a_difference_in_a_setting_is_refused_or_with_force_said(
    tmp_path: Path, key: str, ours: object, theirs: object
) -> None:
    base, tuned = pair(tmp_path)
    folders = [changed(base, **{key: ours}), changed(tuned, **{key: theirs})]
    said = f"`{key}` is {str(ours)[:12]!r}" if isinstance(ours, str) else f"`{key}` is {ours}"
    with pytest.raises(DataError, match=f"{said} for base and"):
        compare(folders, tmp_path)
    assert not (tmp_path / "comparison.json").exists()
    found = compare(folders, tmp_path, force=True)
    (caution,) = found.cautions
    assert caution.startswith(f"compared all the same: {said} for base and")
    assert f"caution: {caution}" in comparison_table(found)
    assert read_result(tmp_path / "comparison.json", Comparison, todo="").cautions == [caution]


def test_every_difference_is_named_at_once(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path)
    changed(tuned, max_tokens=16, postprocess="first-line")
    with pytest.raises(DataError, match=r"`max_tokens` is 128 .*; `postprocess` is 'none'"):
        compare([base, tuned], tmp_path)


def test_with_force_only_shared_instances_are_compared(tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    fewer = write_evaluation(tmp_path / "fewer", "fewer", {"one": [RIGHT, RIGHT], "two": [RIGHT]})
    found = compare([base, fewer], tmp_path, force=True)
    assert (found.n, found.tasks) == (3, 2)
    # Task one: 0 → 100 twice; task two: 0 → 100 once.
    assert found.contestants[0].against_base["exact_match"].difference == 100.0
    assert any("3 instances are answered by one of base and fewer only" in line for line in found.cautions)
    nothing = write_evaluation(tmp_path / "nothing", "nothing", {"four": [RIGHT]})
    with pytest.raises(DataError, match="no instance is answered in all of them"):
        compare([base, nothing], tmp_path, force=True)


def test_the_report_of_a_forced_comparison_has_the_caution(tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    fewer = write_evaluation(tmp_path / "fewer", "fewer", {"one": [RIGHT, RIGHT], "two": [RIGHT]})
    page = render_comparison([base, fewer], compare([base, fewer], tmp_path, force=True), tmp_path)
    assert "Caution: compared all the same: `n_expected` is 6 for base and 3 for fewer" in page.read_text("utf-8")


def test_an_evaluation_without_its_record_is_not_compared_with_one_that_has_it(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path)
    (tuned / "evaluation.json").unlink()
    with pytest.raises(DataError, match=r"tuned has no evaluation\.json"):
        compare([base, tuned], tmp_path)
    (base / "evaluation.json").unlink()
    assert compare([base, tuned], tmp_path).cautions == []


def test_what_an_earlier_version_did_not_record_is_said(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path)
    changed(tuned, max_source_tokens=1024)
    (caution,) = compare([base, tuned], tmp_path).cautions
    assert caution == "`max_source_tokens` of base is not recorded (an earlier version); the other's is 1024"


def test_other_weights_under_one_name_and_another_dtype_are_said(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path)
    changed(base, base_sha256="a", dtype="float32", serve="model")
    changed(tuned, base_sha256="b", dtype="bfloat16", serve="merged")
    cautions = compare([base, tuned], tmp_path).cautions
    assert "`dtype` is 'float32' for base and 'bfloat16' for tuned" in cautions
    assert "the weights of llama changed between base and tuned" in cautions


def test_a_file_instead_of_a_folder_is_named(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path)
    with pytest.raises(DataError, match=r"predictions\.jsonl: no such folder of an evaluation"):
        compare([base, tuned / "predictions.jsonl"], tmp_path)


def test_models_of_one_name_are_told_apart_by_their_runs(tmp_path: Path) -> None:
    folders = [write_evaluation(tmp_path / run / "eval" / "tuned", "tuned", BASE) for run in ("one", "other")]
    found = compare(folders, tmp_path)
    assert (found.base.name, found.contestants[0].name) == ("one/tuned", "other/tuned")
    assert found.per_task["one"].scores.keys() == {"one/tuned", "other/tuned"}
    with pytest.raises(DataError, match="duplicate evaluation 'one/tuned'"):
        compare([folders[0], folders[0]], tmp_path)


def test_a_baseline_without_prompt_goes_with_any(tmp_path: Path) -> None:
    base = write_evaluation(tmp_path / "base", "base", BASE)
    copies = write_evaluation(tmp_path / "copy-input", "copy-input", BASE, prompt="none")
    assert compare([base, copies], tmp_path).contestants[0].against_base["rougeL"].difference == 0.0


def test_p_values_are_adjusted_over_the_models_and_not_the_baselines(tmp_path: Path) -> None:
    base, tuned = pair(tmp_path)
    other = write_evaluation(tmp_path / "b-step-20", "b-step-20", TUNED, categories=CATEGORIES)
    copies = write_evaluation(tmp_path / "copy-input", "copy-input", TUNED, prompt="none", categories=CATEGORIES)
    first, second, copied = compare([base, tuned, other, copies], tmp_path).contestants
    alone = copied.against_base["rougeL"]
    assert alone.p_holm == alone.p > 0
    assert first.against_base["rougeL"].p_holm == min(1.0, 2 * alone.p)
    assert (first.step, second.step) == (0, 20)


def test_only_official_tracks_have_published_figures() -> None:
    assert PublishedScore("GPT-3 Self-Instruct", 39.9, "Self-Instruct, Table 3") in published_scores(11_810)
    assert published_scores(12) == []
