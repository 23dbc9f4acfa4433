"""The report's part on a sweep: its trials with their losses, and which of them won, if any did."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.report.charts import PALETTE, label_text, new_figure
from pacos.report.training import summarize_training
from pacos.results import read_result
from pacos.results.selection import Candidate, Selection
from pacos.results.sweep import Sweep, TrialRecord
from pacos.results.training import StepCurve

AGAIN = "run the sweep again"


@dataclass(frozen=True, slots=True)
class ReportedTrial:
    """One training of a sweep; `candidate` is None for the default, and for one that was not evaluated."""

    record: TrialRecord
    steps: list[StepCurve]
    candidate: Candidate | None = None


@dataclass(frozen=True, slots=True)
class ReportedSweep:
    """The trainings in their order, and what was selected."""

    trials: list[ReportedTrial]
    selection: Selection


def sweep_of_run(run_dir: Path) -> ReportedSweep | None:
    """What `pacos sweep` came to; None where it has not ended in this run. Raises DataError for a broken file."""
    if not all((run_dir / name).is_file() for name in ("sweep.json", "selection.json")):
        return None
    selection = read_result(run_dir / "selection.json", Selection, todo=AGAIN)
    candidates = {one.name: one for one in selection.candidates}
    trials = []
    for record in read_result(run_dir / "sweep.json", Sweep, todo=AGAIN).trials:
        training = summarize_training(run_dir / "trials" / Path(record.run_dir).name / "train" / "metrics.jsonl")
        candidate = candidates.get(record.name) if record.share == 1.0 else None
        trials.append(ReportedTrial(record, training.steps if training else [], candidate))
    return ReportedSweep(trials, selection)


def loss_curves(trials: Sequence[ReportedTrial]) -> Any:
    """Training loss by epoch of every whole training; those that take another number of steps compare that way."""
    figure = new_figure(height=340, left=60)
    whole = [trial for trial in trials if trial.record.share == 1.0 and trial.steps]
    for number, trial in enumerate(whole):
        figure.add_scatter(
            name=label_text(trial.record.name),
            x=[step.epoch for step in trial.steps],
            y=[step.loss for step in trial.steps],
            mode="lines+markers" if len(trial.steps) < 40 else "lines",
            line={"color": PALETTE[number % len(PALETTE)], "width": 2},
            hovertemplate="epoch %{x:.2f}: %{y:.4f}",
        )
    figure.update_xaxes(title="epoch")
    figure.update_yaxes(title="nats per supervised token")
    return figure
