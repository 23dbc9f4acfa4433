"""Summarises the votes in `review.json`. Raters are never pooled; each has a column, and each two their agreement.

A judge that has judged the same answers counts as one more rater: its agreement with people tells whether its scores
can stand in for theirs.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import median

from pacos.evaluate.review.kinds import RaterAnswers, ReviewKind, review_kind
from pacos.evaluate.review.sheet import RESTART, Sheet, read_sheet
from pacos.evaluate.review.votes import Ballot, read_ballots
from pacos.extensions import REVIEW_KINDS
from pacos.files import safe_name
from pacos.records import Judgement, read_records
from pacos.results import extend, read_result, write_result
from pacos.results.judging import JudgeSettings
from pacos.results.review import (
    JudgeAgreement,
    RaterPair,
    RaterResults,
    ReviewAgreement,
    ReviewNote,
    ReviewResults,
)


def conclude(folder: Path) -> ReviewResults:
    """Write `review.json` beside the votes and return it. Raises DataError for broken files."""
    sheet = read_sheet(folder)
    kind = review_kind(sheet.kind)
    votes = folder / "votes.jsonl"
    ballots = dict(sorted(read_ballots(votes, sheet).items())) if votes.is_file() else {}
    answers = {rater: ballot.complete(kind.questions) for rater, ballot in ballots.items()}
    verdicts = {rater: kind.verdicts(sheet, given) for rater, given in answers.items()}
    found = ReviewResults(
        kind=sheet.kind,
        name=sheet.name,
        n=sheet.n,
        seed=sheet.seed,
        population=sheet.population,
        items=len(sheet.items),
        baseline=sheet.models[0] if sheet.kind == "pairwise" else "",
        raters={
            rater: extend(
                RaterResults,
                kind.figures(sheet, answers[rater], verdicts[rater]),
                answered=len(answers[rater]),
                skipped=len(ballot.skipped),
                median_seconds=_median_seconds(ballot, answers[rater]),
                notes=[ReviewNote(sheet.key[item].item, note) for item, note in sorted(ballot.notes.items()) if note],
            )
            for rater, ballot in ballots.items()
        },
        agreement=[
            extend(RaterPair, rater_agreement(kind, verdicts[one], verdicts[other]), one=one, other=other)
            for one, other in combinations(ballots, 2)
        ],
        judge=_judge_agreement(folder, sheet, verdicts),
        published=kind.published(),
    )
    write_result(folder / "review.json", found)
    return found


def _median_seconds(ballot: Ballot, answers: RaterAnswers) -> float | None:
    times = [ballot.seconds[item] for item in answers if ballot.seconds[item]]
    return round(median(times), 2) if times else None


def rater_agreement(kind: ReviewKind, one: RaterAnswers, other: RaterAnswers) -> ReviewAgreement:
    """Return the agreement of two raters over the items that both voted on."""
    common = sorted(one.keys() & other.keys())
    if not common:
        return ReviewAgreement()
    return kind.agreement([one[item] for item in common], [other[item] for item in common])


def _judge_agreement(folder: Path, sheet: Sheet, verdicts: Mapping[str, RaterAnswers]) -> JudgeAgreement | None:
    """The run's judge of the same answers (`judge/<kind>--<suite>/`), against each rater; None where there is none."""
    kind = review_kind(sheet.kind)
    judged = folder.parents[1] / "judge" / f"{kind.judged_as}--{safe_name(sheet.name)}"
    if not kind.judged_as or not (judged / "judgements.jsonl").is_file():
        return None
    judgements = read_records(judged / "judgements.jsonl", Judgement, torn_tail=True)
    by_judge = _judge_verdicts(kind, sheet, judgements)
    settings = read_result(judged / "judge.json", JudgeSettings, todo=RESTART)
    agreements = {rater: rater_agreement(kind, given, by_judge) for rater, given in verdicts.items()}
    return JudgeAgreement(kind.judged_as, settings.model, agreements)


def _judge_verdicts(kind: ReviewKind, sheet: Sheet, judgements: Sequence[Judgement]) -> RaterAnswers:
    """The judge's verdicts on the sheet's items."""
    found: dict[tuple[str, int, frozenset[str]], list[str]] = defaultdict(list)
    for one in judgements:
        if one.verdict and one.against in ("", sheet.models[0]):
            found[one.item, one.sample, frozenset({one.model, one.against} - {""})].append(one.verdict)
    verdicts = {
        item: kind.judge_verdict(found.get((source.item, source.sample, frozenset(source.models)), []))
        for item, source in sheet.key.items()
    }
    return {item: verdict for item, verdict in verdicts.items() if verdict}


def compare_judge(run_dir: Path, judged_as: str, suite: str) -> Iterator[str]:
    """Yield how far the run's judge agrees with each rater of the same answers, or that there are no votes yet.

    Writes the review's results again, because the judgements are new.
    """
    kinds = [kind for kind in map(review_kind, REVIEW_KINDS) if kind.judged_as == judged_as]
    folders = [(kind, run_dir / "review" / f"{kind.name}--{suite}") for kind in kinds]
    voted = [(kind, folder) for kind, folder in folders if (folder / "votes.jsonl").is_file()]
    if not voted:
        yield f"nobody has checked this judge: no votes of people in {run_dir / 'review'}"
    for kind, folder in voted:
        judge = conclude(folder).judge
        for rater, row in judge.agreement.items() if judge else ():
            yield f"judge and {rater}: {_agreement_line(kind, row)}"


def review_table(found: ReviewResults) -> str:
    """Return the results as a table for the terminal."""
    kind = review_kind(found.kind)
    lines = [f"{found.name}, {found.kind}: {found.items:,} items of {found.population:,} tasks"]
    for rater, row in found.raters.items():
        lines.append(f"{rater}: {row.answered} answered, {row.skipped} skipped")
        lines += [f"  {line}" for line in kind.lines(row)]
    lines += [f"published: {line}" for line in kind.lines(found.published)]
    lines += [f"{row.one} and {row.other}: {_agreement_line(kind, row)}" for row in found.agreement]
    if judge := found.judge:
        lines += [
            f"judge {judge.model} and {rater}: {_agreement_line(kind, row)}" for rater, row in judge.agreement.items()
        ]
    return "\n".join(lines)


def _agreement_line(kind: ReviewKind, row: ReviewAgreement) -> str:
    return kind.agreement_line(row) if row.n else "no item in common"
