import json
from pathlib import Path

import pytest

from pacos.errors import DataError
from pacos.evaluate.baselines import published_scores
from pacos.evaluate.compare import compare, comparison_table
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
        "different suites": write_evaluation(tmp_path / "a", "a", BASE, suite="other"),
        "different prompts": write_evaluation(tmp_path / "b", "b", BASE, prompt="tk-instruct:def"),
        "2 instances are answered in one of them only": write_evaluation(tmp_path / "c", "c", BASE | {"one": []}),
        "other references": write_evaluation(tmp_path / "d", "d", BASE | {"one": [("red", "green"), WRONG]}),
    }
    for message, other in others.items():
        with pytest.raises(DataError, match=message):
            compare([base, other], tmp_path)
    with pytest.raises(DataError, match="two evaluations or more"):
        compare([base], tmp_path)


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
