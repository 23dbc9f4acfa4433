"""What a report shows, read from what the stages of a run wrote: `report.json`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pacos.files import write_json
from pacos.report.dataset import ReportedDataset, dataset_of_run
from pacos.report.evaluation import (
    ReportedContamination,
    ReportedEvaluation,
    contamination_of_run,
    evaluations_of_run,
    reported_evaluation,
)
from pacos.report.judging import ReportedJudgement, judgements_of_run, read_review, reviews_of_run, rounds_of_run
from pacos.report.sweep import ReportedSweep, sweep_of_run
from pacos.report.training import summarize_training
from pacos.results import plain, read_result
from pacos.results.comparison import Comparison
from pacos.results.manifest import Manifest, read_manifest
from pacos.results.review import ReviewResults
from pacos.results.rounds import Rounds
from pacos.results.training import TrainingSummary


@dataclass(frozen=True, slots=True)
class Check:
    """Something that was tested on the run, and how it went."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Checks:
    """`checks.json`."""

    checks: list[Check] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Report:
    """All that the page shows. A part that the run has not reached is None or empty."""

    name: str
    manifest: Manifest
    checks: list[Check] = field(default_factory=list)
    evaluations: list[ReportedEvaluation] = field(default_factory=list)
    rounds: Rounds | None = None
    sweep: ReportedSweep | None = None
    reviews: list[ReviewResults] = field(default_factory=list)
    judgements: list[ReportedJudgement] = field(default_factory=list)
    contamination: list[ReportedContamination] = field(default_factory=list)
    training: TrainingSummary | None = None
    dataset: ReportedDataset | None = None

    def parts(self) -> dict[str, Any]:
        """Every part by its name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def write(self, path: Path) -> None:
        """Write it as JSON; a part that is not there is an empty object."""
        values = {name: {} if part is None else plain(part) for name, part in self.parts().items()}
        judgements = [plain(one.results) | {"people": plain(one.people)} for one in self.judgements]
        write_json(path, values | {"judgements": judgements})


def report_of_run(run_dir: Path) -> Report:
    """What a run has come to. Raises RunError where there is no run, DataError for a file of it that is broken."""
    manifest, checks, reviews = read_manifest(run_dir), run_dir / "checks.json", reviews_of_run(run_dir)
    todo = "run what writes it again"
    return Report(
        name=manifest.name,
        manifest=manifest,
        checks=read_result(checks, Checks, todo=todo).checks if checks.is_file() else [],
        evaluations=evaluations_of_run(run_dir),
        rounds=rounds_of_run(run_dir),
        sweep=sweep_of_run(run_dir),
        reviews=reviews,
        judgements=judgements_of_run(run_dir, reviews),
        contamination=contamination_of_run(run_dir),
        training=summarize_training(run_dir / "train" / "metrics.jsonl"),
        dataset=dataset_of_run(run_dir),
    )


def report_of_comparison(folders: Sequence[Path], comparison: Comparison) -> Report:
    """What a comparison of evaluations (`folders`, in its order) has come to, with what their runs judged."""
    runs = list(dict.fromkeys(folder.resolve().parent.parent for folder in folders))
    name, reviews = f"Comparison on {comparison.suite}", {run: reviews_of_run(run) for run in runs}
    return Report(
        name=name,
        manifest=Manifest(name),
        evaluations=[reported_evaluation(comparison, dict(zip(comparison.labels, folders, strict=True)))],
        reviews=[found for run in runs for found in reviews[run]],
        judgements=[found for run in runs for found in judgements_of_run(run, reviews[run])],
        contamination=[found for run in runs for found in contamination_of_run(run)],
    )


def report_of_review(folder: Path) -> Report:
    """A review on its own, outside of a run."""
    review = read_review(folder)
    name = f"Review of {review.name}"
    return Report(name=name, manifest=Manifest(name), reviews=[review])
