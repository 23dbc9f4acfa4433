"""The report's part on evaluations: comparisons with their scores and answers, and the contamination of suites."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pacos.errors import DataError
from pacos.report.samples import Sample, side_by_side, truncated
from pacos.results import extend, read_result
from pacos.results.comparison import Comparison
from pacos.results.evaluation import Contamination, Passage, Scores

OVERLAPS_SHOWN = 20
AGAIN = "evaluate again"


@dataclass(frozen=True, slots=True)
class ReportedEvaluation:
    """A comparison, and each model's scores, with answers side by side under titles."""

    comparison: Comparison
    scores: dict[str, Scores]
    samples: dict[str, list[Sample]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportedContamination(Contamination):
    """The contamination of a suite, with its first overlaps only; `run` names the run that was checked."""

    run: str


def evaluations_of_run(run_dir: Path) -> list[ReportedEvaluation]:
    """Every comparison of a run. Raises DataError for a broken file."""
    folder, found = run_dir / "eval", []
    for path in sorted(folder.glob("comparison*.json")):
        comparison = read_result(path, Comparison, todo=AGAIN)
        if odd := [label for label in comparison.labels.values() if Path(label).name != label or label in ("", "..")]:
            raise DataError(f"{odd[0]!r} is not the name of a folder beside it", where=str(path), todo=AGAIN)
        found.append(reported_evaluation(comparison, {name: folder / at for name, at in comparison.labels.items()}))
    return found


def reported_evaluation(comparison: Comparison, folders: Mapping[str, Path]) -> ReportedEvaluation:
    """What the report shows of a comparison; `folders` are those of its models by name, in its order."""
    scores = {name: read_result(folder / "scores.json", Scores, todo=AGAIN) for name, folder in folders.items()}
    # Baselines copy, so their answers are not worth reading.
    models = {name: folder for name, folder in folders.items() if not scores[name].is_baseline}
    return ReportedEvaluation(comparison, scores, side_by_side(models or folders, comparison.suite))


def contamination_of_run(run_dir: Path) -> list[ReportedContamination]:
    """What of each suite was found in the training data: the counts, and the first overlaps."""
    reported = []
    for path in sorted((run_dir / "eval").glob("contamination*.json")):
        found = read_result(path, Contamination, todo=AGAIN)
        overlaps = [
            replace(one, evaluation=_shown(one.evaluation), training=_shown(one.training))
            for one in found.overlaps[:OVERLAPS_SHOWN]
        ]
        reported.append(extend(ReportedContamination, replace(found, overlaps=overlaps), run=run_dir.name))
    return reported


def _shown(passage: Passage) -> Passage:
    return replace(passage, text=truncated(passage.text))
