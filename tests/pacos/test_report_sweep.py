from pathlib import Path

import pytest

from pacos.errors import DataError
from pacos.files import write_jsonl
from pacos.report.render import render
from pacos.report.sweep import sweep_of_run
from pacos.results import write_result
from pacos.results.comparison import AdjustedDifference
from pacos.results.manifest import Manifest
from pacos.results.selection import Candidate, Selection
from pacos.results.sweep import Sweep, TrialRecord
from pacos.results.training import TrainingStep


def step(number: int, loss: float) -> TrainingStep:
    return TrainingStep(
        step=number,
        epoch=number / 10,
        loss=loss,
        learning_rate=1e-4,
        grad_norm=1.0,
        examples=8,
        tokens=80,
        response_tokens=40,
        fill=1.0,
        tokens_per_s=9.0,
        seconds=1.0,
    )


@pytest.fixture
def swept(tmp_path: Path) -> Path:
    """A sweep of the default, a winner with a name of a stranger, and a training that failed."""
    run = tmp_path / "run"
    write_result(run / "manifest.json", Manifest("run"))
    names = {"default": 2.0, "rate-<b>": 1.5}
    records = [TrialRecord(name, [], 1.0, "trained", str(run / "trials" / name), 1.25) for name in names]
    records.append(TrialRecord("rate-9", ["train.learning_rate=9"], 1.0, "failed", str(run / "trials" / "rate-9")))
    for name, loss in names.items():
        write_jsonl(run / "trials" / name / "train" / "metrics.jsonl", [step(1, loss), step(2, loss / 2)])
    gain = AdjustedDifference(
        difference=4.0, low=1.0, high=7.0, n=40, tasks=4, wins=4, ties=0, losses=0, p=0.01, detectable=5.0, p_holm=0.02
    )
    candidate = Candidate("rate-<b>", "rate-<b>", 33.25, gain, 31.5, gain)
    selection = Selection(
        "small", "alpaca", 7, ["a", "b"], ["c", "d"], "default", 29.25, 27.5, [candidate], "rate-<b>", "rate-<b>", "won"
    )
    write_result(run / "sweep.json", Sweep(records, []))
    write_result(run / "selection.json", selection)
    return run


def test_the_report_has_the_trials_the_winner_and_what_failed(swept: Path) -> None:
    page = " ".join(render(swept).read_text(encoding="utf-8").split())
    assert '<bdi>rate-&lt;b&gt;</bdi> <span class="gain">winner</span>' in page and "rate-<b>" not in page
    assert '<td class="loss" colspan="5">failed</td>' in page
    for figure in ("33.25", "31.50", "29.25", "27.50", "1.2500", "+4.00"):
        assert f">{figure}" in page
    assert "2 tasks of small choose, 2 others test (seed 7)" in page


def test_every_whole_training_has_its_curve(swept: Path) -> None:
    found = sweep_of_run(swept)
    assert found
    assert [[one.loss for one in trial.steps] for trial in found.trials] == [[2.0, 1.0], [1.5, 0.75], []]


def test_a_run_without_a_sweep_has_no_such_part(tmp_path: Path) -> None:
    assert sweep_of_run(tmp_path) is None


def test_a_broken_selection_is_named(swept: Path) -> None:
    (swept / "selection.json").write_text('{"suite": 3}', encoding="utf-8")
    with pytest.raises(DataError, match=r"selection\.json: `suite`"):
        sweep_of_run(swept)
