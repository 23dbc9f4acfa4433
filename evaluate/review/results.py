"""What the votes come to: `review.json`. Raters are never pooled; each has a column, and each two their agreement.

A judge that has judged the same answers counts as one more rater: its agreement with people is what tells whether its
scores can stand for theirs.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

from pacos.evaluate.agreement import cohen_kappa, comparison, wilson
from pacos.evaluate.judge.prompts import GRADES
from pacos.evaluate.judge.results import PUBLISHED, grade_agreement, grade_figures
from pacos.evaluate.review.questions import LEFT, NO, QUESTIONS, TIE, YES
from pacos.evaluate.review.sheet import AGAIN, Sheet, read_sheet
from pacos.evaluate.review.votes import Ballot, read_ballots
from pacos.records import Judgement, read_object, read_records, write_json
from pacos.results.figures import Rate

Values = dict[str, Any]

# One rater's verdict by item: {question: answer}. In pairwise it is of the model that is compared with the first.
Verdicts = Mapping[str, Mapping[str, str]]

WIN, LOSS = "win", "loss"
JUDGED_AS = {"rating": "rubric", "pairwise": "pairwise"}

# Of 200 tasks (Wang et al. 2212.10560, table 2). Published, not measured; `all` is 54 % in the text.
PUBLISHED_QUALITY = {"task": 184, "input": 158, "output": 116, "all": 108}
PUBLISHED_TASKS = 200
# Between two experts (section 4.4 and appendix B).
PUBLISHED_AGREEMENT = {"kappa": 0.58, "kappa_binary": 0.75, "spearman": 0.81}
# Alpaca 7B against text-davinci-003, blind (Taori et al. 2023).
PUBLISHED_WINS, PUBLISHED_LOSSES = 90, 89


def conclude(folder: Path) -> Values:
    """Write `review.json` beside the votes and return what it holds. Raises DataError for broken files."""
    sheet = read_sheet(folder)
    votes = folder / "votes.jsonl"
    ballots = read_ballots(votes, sheet) if votes.is_file() else {}
    verdicts = {rater: verdicts_of(sheet, ballot) for rater, ballot in ballots.items()}
    found: Values = {
        "kind": sheet.kind,
        "name": sheet.name,
        "n": sheet.n,
        "seed": sheet.seed,
        "population": sheet.population,
        "items": len(sheet.items),
        "baseline": sheet.models[0] if sheet.kind == "pairwise" else "",
        "raters": {rater: _rater(sheet, ballots[rater], verdicts[rater]) for rater in sorted(ballots)},
        "agreement": [
            {"one": one, "other": other, **agreement(sheet, verdicts[one], verdicts[other])}
            for one, other in combinations(sorted(ballots), 2)
        ],
        "judge": _judge(folder, sheet, verdicts),
        "published": published(sheet),
    }
    write_json(folder / "review.json", found)
    return found


def verdicts_of(sheet: Sheet, ballot: Ballot) -> Verdicts:
    """Of the items answered whole; sides are turned into models here, and nowhere before."""
    complete = ballot.complete(QUESTIONS[sheet.kind])
    if sheet.kind == "quality":
        return {item: {**given, "all": YES if set(given.values()) == {YES} else NO} for item, given in complete.items()}
    if sheet.kind == "rating":
        return complete
    return {item: {"preference": _worth(sheet, item, given["preference"])} for item, given in complete.items()}


def _worth(sheet: Sheet, item: str, preference: str) -> str:
    if preference == TIE:
        return TIE
    preferred = sheet.key[item].models[0 if preference == LEFT else 1]
    return LOSS if preferred == sheet.models[0] else WIN


def _rater(sheet: Sheet, ballot: Ballot, verdicts: Verdicts) -> Values:
    times = [ballot.seconds[item] for item in verdicts if ballot.seconds[item]]
    figures = {"quality": _quality, "rating": _grades, "pairwise": _comparisons}[sheet.kind]
    return {
        "answered": len(verdicts),
        "skipped": len(ballot.skipped),
        "median_seconds": round(median(times), 2) if times else None,
        "notes": [{"item": sheet.key[item].item, "note": note} for item, note in sorted(ballot.notes.items()) if note],
        **figures(sheet, ballot, verdicts),
    }


def _quality(_sheet: Sheet, _ballot: Ballot, verdicts: Verdicts) -> Values:
    return {
        "rates": {
            name: _rate(sum(one[name] == YES for one in verdicts.values()), len(verdicts)) for name in PUBLISHED_QUALITY
        }
    }


def _grades(sheet: Sheet, _ballot: Ballot, verdicts: Verdicts) -> Values:
    counts: dict[str, Counter[str]] = {model: Counter() for model in sheet.models}
    for item, one in verdicts.items():
        counts[sheet.key[item].models[0]][one["grade"]] += 1
    return {"models": {model: grade_figures({grade: of[grade] for grade in GRADES}) for model, of in counts.items()}}


def _comparisons(sheet: Sheet, ballot: Ballot, verdicts: Verdicts) -> Values:
    """`first_preferred` is of the decided comparisons: far from half, the rater goes by the side."""
    values: dict[str, list[float]] = {model: [] for model in sheet.models[1:]}
    for item, one in verdicts.items():
        other = next(model for model in sheet.key[item].models if model != sheet.models[0])
        values[other].append({WIN: 1.0, TIE: 0.5, LOSS: 0.0}[one["preference"]])
    sides = Counter(given["preference"] for given in ballot.complete(QUESTIONS["pairwise"]).values())
    compared = {model: comparison(of) for model, of in values.items()}
    return {
        "models": {model: asdict(found) if found else {"n": 0} for model, found in compared.items()},
        "first_preferred": _rate(sides[LEFT], len(verdicts) - sides[TIE]),
    }


def agreement(sheet: Sheet, one: Verdicts, other: Verdicts) -> Values:
    """Over the items that both voted on; {"n": 0} without any. Quality has figures for each question."""
    common = sorted(one.keys() & other.keys())
    if not common:
        return {"n": 0}

    def both(question: str) -> tuple[list[str], list[str]]:
        return [one[item][question] for item in common], [other[item][question] for item in common]

    if sheet.kind == "rating":
        return grade_agreement(*both("grade"))
    if sheet.kind == "pairwise":
        return {"n": len(common), **_same(*both("preference"))}
    return {"n": len(common), "questions": {name: _same(*both(name)) for name in PUBLISHED_QUALITY}}


def _same(one: Sequence[str], other: Sequence[str]) -> Values:
    return {
        "agreement": _rate(sum(a == b for a, b in zip(one, other, strict=True)), len(one)),
        "kappa": cohen_kappa(one, other),
    }


def _judge(folder: Path, sheet: Sheet, verdicts: Mapping[str, Verdicts]) -> Values | None:
    """The run's judge of the same answers (`judge/<kind>--<suite>/`), against each rater; None where there is none."""
    kind = JUDGED_AS.get(sheet.kind)
    judged = folder.parents[1] / "judge" / f"{kind}--{sheet.name}"
    if not (judged / "judgements.jsonl").is_file():
        return None
    judgements = read_records(judged / "judgements.jsonl", Judgement, torn_tail=True)
    by_judge = judge_verdicts(sheet, judgements)
    return {
        "kind": kind,
        "model": read_object(judged / "judge.json", todo=AGAIN)["model"],
        "agreement": {rater: agreement(sheet, of, by_judge) for rater, of in sorted(verdicts.items())},
    }


def judge_verdicts(sheet: Sheet, judgements: Sequence[Judgement]) -> Verdicts:
    """The judge's verdicts on the sheet's items; of a pair whose two orders conflict, a tie."""
    found: dict[tuple[str, int, frozenset[str]], list[str]] = defaultdict(list)
    for one in judgements:
        if one.verdict and one.against in ("", sheet.models[0]):
            found[one.item, one.sample, frozenset({one.model, one.against} - {""})].append(one.verdict)
    verdicts: dict[str, dict[str, str]] = {}
    for item, source in sheet.key.items():
        of_item = found.get((source.item, source.sample, frozenset(source.models)), [])
        if sheet.kind == "rating" and of_item:
            verdicts[item] = {"grade": of_item[0]}
        elif len(of_item) == 2:
            verdicts[item] = {"preference": of_item[0] if of_item[0] == of_item[1] else TIE}
    return verdicts


def published(sheet: Sheet) -> Values:
    """The figures of the papers, of their own tasks and raters."""
    if sheet.kind == "quality":
        return {
            "n": PUBLISHED_TASKS,
            "rates": {name: _rate(yes, PUBLISHED_TASKS) for name, yes in PUBLISHED_QUALITY.items()},
        }
    if sheet.kind == "rating":
        models = {name: grade_figures(dict(zip(GRADES, counts, strict=True))) for name, counts in PUBLISHED.items()}
        return {"models": models, "agreement": PUBLISHED_AGREEMENT}
    found = comparison([1.0] * PUBLISHED_WINS + [0.0] * PUBLISHED_LOSSES)
    assert found
    return {"models": {"Alpaca 7B against text-davinci-003": asdict(found)}}


def _rate(successes: int, n: int) -> Values | None:
    return asdict(wilson(successes, n)) if n else None


def compare_judge(run_dir: Path, kind: str, suite: str) -> Iterator[str]:
    """Write the results of the run's reviews of the same answers again, and yield how far the judge agrees with each
    rater; or that people have not voted on them yet."""
    people = {judged_as: review for review, judged_as in JUDGED_AS.items()}.get(kind)
    folder = run_dir / "review" / f"{people}--{suite}"
    if not (folder / "votes.jsonl").is_file():
        yield f"nobody has checked this judge: no votes of people in {run_dir / 'review'}"
        return
    found = conclude(folder)
    for rater, row in found["judge"]["agreement"].items():
        yield f"judge and {rater}: {_agreement(row)}"


def table(found: Values) -> str:
    """For the terminal."""
    lines = [f"{found['name']}, {found['kind']}: {found['items']:,} items of {found['population']:,} tasks"]
    for rater, row in found["raters"].items():
        lines.append(f"{rater}: {row['answered']} answered, {row['skipped']} skipped")
        lines += [f"  {line}" for line in _figures(found, row)]
    lines += [f"published: {line}" for line in _figures(found, found["published"])]
    lines += [f"{row['one']} and {row['other']}: {_agreement(row)}" for row in found["agreement"]]
    if judge := found["judge"]:
        lines += [f"judge {judge['model']} and {rater}: {_agreement(row)}" for rater, row in judge["agreement"].items()]
    return "\n".join(lines)


def _figures(found: Values, row: Values) -> list[str]:
    if found["kind"] == "quality":
        return [", ".join(f"{name} {_percent(rate)}" for name, rate in row["rates"].items())]
    if found["kind"] == "rating":
        return [
            f"{model}: {' '.join(f'{grade} {count}' for grade, count in of['counts'].items())}; "
            f"A or B {_percent(of['A_or_B'])}"
            for model, of in row["models"].items()
        ]
    return [
        f"{model}: {of['wins']} won, {of['ties']} tied, {of['losses']} lost; win rate {_percent(of['win_rate'])}, "
        f"sign test p {of['sign_test_p']:.3g}"
        for model, of in row["models"].items()
        if of["n"]
    ]


def _agreement(row: Values) -> str:
    if not row["n"]:
        return "no item in common"
    if "questions" in row:
        kappas = ", ".join(f"{name} {_number(of['kappa'])}" for name, of in row["questions"].items())
        return f"{row['n']} items, kappa: {kappas}"
    more = f", A or B {_number(row['kappa_binary'])}, Spearman {_number(row['spearman'])}" if "spearman" in row else ""
    return f"{row['n']} items, the same in {_percent(row['agreement'])}, kappa {_number(row['kappa'])}{more}"


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _percent(rate: Values | None) -> str:
    return "none" if rate is None else str(Rate(**rate))
