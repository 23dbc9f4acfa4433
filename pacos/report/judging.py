"""The report's parts on judging: what people voted, what judges found, and the rounds of self-rewarding."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.errors import DataError
from pacos.extensions import JUDGE_KINDS, load
from pacos.files import read_object
from pacos.results import parse_result, read_result
from pacos.results.judging import JudgeResults
from pacos.results.review import ReviewAgreement, ReviewResults
from pacos.results.rounds import Rounds

AGAIN = "run the command that writes it again"


def reviews_of_run(run_dir: Path) -> list[ReviewResults]:
    """Return what people found (`review/<kind>--<name>/review.json`)."""
    return [read_review(path.parent) for path in sorted(run_dir.glob("review/*/review.json"))]


def read_review(folder: Path) -> ReviewResults:
    """Read a review's results. Raises DataError for a file that is missing or broken."""
    return read_result(folder / "review.json", ReviewResults, todo=AGAIN)


@dataclass(frozen=True, slots=True)
class ReportedJudgement:
    """What a judge found, and its agreement with each rater of the same answers."""

    results: JudgeResults
    people: dict[str, ReviewAgreement]


def judgements_of_run(run_dir: Path, reviews: Sequence[ReviewResults]) -> list[ReportedJudgement]:
    """Return what judges found (`judge/<kind>--<suite>/results.json`), with the run's `reviews` of the same answers.

    Raises DataError for a broken file.
    """
    agreements = {(review.judge.kind, review.name): review.judge.agreement for review in reviews if review.judge}
    found = map(_read_results, sorted(run_dir.glob("judge/*/results.json")))
    return [ReportedJudgement(one, agreements.get((one.kind, one.suite), {})) for one in found]


def _read_results(path: Path) -> JudgeResults:
    values = read_object(path, todo=AGAIN)
    kind = values.get("kind")
    if not isinstance(kind, str) or kind not in JUDGE_KINDS:
        raise DataError(f"unknown kind of judge {kind!r}", where=str(path), todo=AGAIN)
    results: type[JudgeResults] = load(JUDGE_KINDS, kind).results
    return parse_result(values, results, where=path, todo=AGAIN)


def rounds_of_run(run_dir: Path) -> Rounds | None:
    """Return `rounds.json`; None where the run is not a self-rewarding loop."""
    path = run_dir / "rounds.json"
    return read_result(path, Rounds, todo="run the loop again") if path.is_file() else None
