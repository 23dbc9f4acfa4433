"""Files of a run that are damaged or forged: the report says which, and never ends in a traceback."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import DataError, PacosError
from pacos.report import charts
from pacos.report.render import render
from tests.support.hostile_run import write_hostile_run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_hostile_run(tmp_path_factory.mktemp("forged"), answer_characters=60)


@pytest.fixture
def run(written: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The run; its files are put back afterwards."""
    monkeypatch.setattr(charts, "library", str)  # 4 MB that say nothing here
    before = {path: path.read_bytes() for path in written.rglob("*.json*")}
    yield written
    for path, content in before.items():
        path.write_bytes(content)


def forge(path: Path, change: Callable[[Any], object]) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


@pytest.mark.parametrize(
    "change",
    [
        lambda found: found.update(contestants=[]),
        lambda found: found.update(per_category={}),
        lambda found: next(iter(found["per_category"].values())).update(scores={}),
        lambda found: next(iter(found["per_task"].values())).update(scores={"base": {}}),
        lambda found: found["contestants"][0].update(against_base={}),
        lambda found: found["contestants"][0].update(name="another"),
        lambda found: found["contestants"][0].update(rougeL=float("inf")),
        lambda found: found["contestants"][0].update(label="../../elsewhere"),
        lambda found: found["base"].update(label=".."),
    ],
)
def test_a_forged_comparison_is_named_or_shown(run: Path, change: Callable[[Any], object]) -> None:
    forge(run / "eval" / "comparison.json", change)
    try:
        assert render(run).is_file()
    except DataError as error:
        assert error.where and "/eval/" in error.where and error.todo


@pytest.mark.parametrize("change", [{"contestants": []}, {"per_category": {}}])
def test_values_that_do_not_fit_together_are_an_error_with_the_file(run: Path, change: dict[str, Any]) -> None:
    forge(run / "eval" / "comparison.json", lambda found: found.update(change))
    with pytest.raises(DataError, match=r"comparison.*\.json"):
        render(run)


def test_folders_of_a_comparison_lie_beside_it(run: Path) -> None:
    forge(run / "eval" / "comparison.json", lambda found: found["base"].update(label="../../base"))
    with pytest.raises(DataError, match="is not the name of a folder beside it"):
        render(run)


def test_counts_without_grades_are_named(run: Path) -> None:
    path = run / "judge" / "rubric--x" / "results.json"
    forge(path, lambda found: [one.update(counts={}) for one in found["models"].values()])
    with pytest.raises(DataError, match=r"judge/.*results\.json"):
        render(run)


@pytest.mark.parametrize(
    "file",
    [
        "manifest.json", "dataset/stats.json", "dataset/dataset.jsonl", "eval/comparison.json", "eval/base/scores.json",
        "eval/tuned/predictions.jsonl", "eval/contamination.json", "judge/rubric--x/results.json",
        "judge/pairwise--x/results.json",
    ],
)  # fmt: skip
def test_a_damaged_file_is_an_error_and_no_traceback(run: Path, file: str) -> None:
    """Eight values, drawn with a fixed seed, in the place of eight others of the file."""
    path, draw = run / file, random.Random(file)
    original = path.read_text(encoding="utf-8")
    first, *rest = original.splitlines(keepends=True) if path.suffix == ".jsonl" else [original]
    wrongs: list[Any] = [None, -1, 1e308, "x", "\ud800", [], {}, [None]]
    for wrong in wrongs:
        values = json.loads(first)
        place = values
        while True:
            key = draw.choice(sorted(place) if isinstance(place, dict) else range(len(place)))
            if not isinstance(place[key], dict | list) or not place[key] or draw.random() < 0.2:
                break
            place = place[key]
        place[key] = wrong
        path.write_text(json.dumps(values) + "\n" + "".join(rest), encoding="utf-8")
        try:
            render(run)
        except PacosError as error:
            assert error.where, error
