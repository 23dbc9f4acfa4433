"""What a judge's verdicts come to, model by model: `results.json`. Unreadable judgements are counted, never scored."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.agreement import cohen_kappa, comparison, spearman, wilson
from pacos.evaluate.judge import ranking
from pacos.evaluate.judge.answers import Answers
from pacos.evaluate.judge.prompts import GRADES, SCORES, Kind
from pacos.records import Judgement, read_jsonl
from pacos.results.figures import Rate

Values = dict[str, Any]

# Self-Instruct, figure 6: A, B, C, D of human experts on the 252 user-oriented instructions. Published, not measured.
PUBLISHED_ITEMS = 252
PUBLISHED = {
    "GPT3": (1, 0, 64, 187),
    "GPT3 + T0 training": (44, 31, 59, 118),
    "GPT3 + SuperNI training": (74, 30, 80, 68),
    "GPT3 SelfInst + SuperNI": (83, 54, 84, 31),
    "GPT3 SelfInst": (112, 49, 66, 25),
    "InstructGPT-001": (128, 45, 61, 18),
    "InstructGPT-002": (168, 40, 34, 10),
    "InstructGPT-003": (192, 30, 28, 2),
}


def summary(kind: Kind, answers: Answers, judgements: Sequence[Judgement]) -> Values:
    """{kind, n, unreadable, truncated, models: {name: figures}}; `pairwise` has figures of all models but the first.
    `additive` has `ranking` as well, where people have ranked the answers."""
    by_model: dict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_model[judgement.model].append(judgement)
    figures = {"rubric": _grades, "pairwise": _comparisons, "additive": _scores}[kind]
    found: Values = {
        "kind": kind,
        "n": len(judgements),
        "unreadable": sum(not judgement.verdict for judgement in judgements),
        "truncated": sum(judgement.truncated for judgement in judgements),
        "baseline": answers.models[0] if kind == "pairwise" else "",
        "models": {model: figures(by_model[model]) for model in answers.models if model in by_model},
    }
    items = {answer.item for answer in answers.answers}
    if kind == "rubric" and len(items) == PUBLISHED_ITEMS and all(item.startswith("user_oriented") for item in items):
        found["published"] = {
            name: grade_figures(dict(zip(GRADES, counts, strict=True))) for name, counts in PUBLISHED.items()
        }
    if kind == "additive" and any(answer.rank is not None for answer in answers.answers):
        found["ranking"] = ranking.ranking(answers.answers, judgements)
    return found


def grade_figures(counts: dict[str, int]) -> Values:
    """{counts, n, A, A_or_B}: the rates as Wilson intervals, None where nothing was graded."""
    n = sum(counts.values())

    def rate(*grades: str) -> Values | None:
        return asdict(wilson(sum(counts[grade] for grade in grades), n)) if n else None

    return {"counts": counts, "n": n, "A": rate("A"), "A_or_B": rate("A", "B")}


def _grades(judgements: Sequence[Judgement]) -> Values:
    counted = Counter(judgement.verdict for judgement in judgements)
    return {**grade_figures({grade: counted[grade] for grade in GRADES}), "unreadable": counted[""]}


def _comparisons(judgements: Sequence[Judgement]) -> Values:
    """An item counts where both orders could be read; orders that disagree are a tie (as in FastChat's MT-Bench)."""
    orders: dict[tuple[str, int], dict[int, str]] = defaultdict(dict)
    for judgement in judgements:
        orders[judgement.item, judgement.sample][judgement.repeat] = judgement.verdict
    pairs = [(both.get(0, ""), both.get(1, "")) for both in orders.values()]
    readable = [(one, other) for one, other in pairs if one and other]
    worth = {("win", "win"): 1.0, ("loss", "loss"): 0.0}
    found = comparison([worth.get(pair, 0.5) for pair in readable])
    same = sum(one == other for one, other in readable)
    # repeat 0 shows the baseline first, repeat 1 the model.
    decided = [verdict == first for pair in readable for verdict, first in zip(pair, ("loss", "win"), strict=True)]
    ties = sum(verdict == "tie" for pair in readable for verdict in pair)
    return {
        **(asdict(found) if found else {"n": 0}),
        "dropped": len(pairs) - len(readable),
        "position_consistency": asdict(wilson(same, len(readable))) if readable else None,
        "first_preferred": asdict(wilson(sum(decided), len(decided) - ties)) if len(decided) > ties else None,
    }


def _scores(judgements: Sequence[Judgement]) -> Values:
    """Means over answers, each the mean of its readable scores; an answer without any is dropped and counted."""
    of_answer = ranking.mean_scores(judgements)
    means = [mean for mean in of_answer.values() if mean is not None]
    counted = Counter(judgement.verdict for judgement in judgements)
    return {
        "mean": round(math.fsum(means) / len(means), 4) if means else None,
        "n": len(means),
        "dropped": len(of_answer) - len(means),
        "unreadable": counted[""],
        "counts": {score: counted[score] for score in SCORES},
    }


def rater_agreement(one: Path, other: Path) -> Values:
    """Agreement of two raters of the same answers, over those that both graded A–D.

    Each file has lines with `item`, `model` and `verdict`: a judge's `judgements.jsonl`, or votes of people.
    `kappa_binary` joins A with B and C with D. Raises DataError for a file without grades, or none in common.
    """
    first, second = _read_grades(one), _read_grades(other)
    common = sorted(first.keys() & second.keys())
    if not common:
        raise DataError("the two files grade no answer in common", where=f"{one} and {other}")
    found = grade_agreement([first[key] for key in common], [second[key] for key in common])
    return {**found, "only_first": len(first) - len(common), "only_second": len(second) - len(common)}


def grade_agreement(grades: Sequence[str], others: Sequence[str]) -> Values:
    """{n, agreement, kappa, kappa_binary, spearman} of two raters' grades of the same answers."""
    acceptable = [[grade in "AB" for grade in rater] for rater in (grades, others)]
    return {
        "n": len(grades),
        "agreement": asdict(wilson(sum(a == b for a, b in zip(grades, others, strict=True)), len(grades))),
        "kappa": cohen_kappa(grades, others),
        "kappa_binary": cohen_kappa(*acceptable),
        "spearman": spearman([-GRADES.index(grade) for grade in grades], [-GRADES.index(grade) for grade in others]),
    }


def _read_grades(path: Path) -> dict[tuple[str, str, int], str]:
    grades = {}
    for line, values in read_jsonl(path, torn_tail=True):
        if not {"item", "model", "verdict"} <= values.keys():
            raise DataError("a grade needs `item`, `model` and `verdict`", where=f"{path}:{line}")
        if values["verdict"] in GRADES:
            grades[str(values["item"]), str(values["model"]), int(values.get("sample", 0))] = str(values["verdict"])
    if not grades:
        raise DataError("holds no grades A to D", where=str(path))
    return grades


def table(found: Values) -> str:
    """For the terminal."""
    lines = [f"{found['suite']}, {found['kind']}: {found['n']:,} judgements, {found['unreadable']} unreadable"]
    if found["truncated"]:
        lines.append(f"{found['truncated']} prompts were too long for the judge and lost the middle of their texts")
    width = max([len(name) for name in found["models"]], default=0)
    for name, row in found["models"].items():
        lines.append(f"{name:{width}}  {_row(found, row)}")
    for name, row in found.get("published", {}).items():
        lines.append(f"published, people's grades: {name}: {_row(found, row)}")
    if "ranking" in found:
        lines += ranking.lines(found["ranking"])
    return "\n".join(lines)


def _row(found: Values, row: Values) -> str:
    if found["kind"] == "additive":
        mean = "no score" if row["mean"] is None else f"mean score {row['mean']:.2f}"
        return f"{mean} over {row['n']} answers, {row['dropped']} dropped"
    if not row["n"]:
        return "no readable judgement"
    if found["kind"] == "rubric":
        counts = " ".join(f"{grade} {count}" for grade, count in row["counts"].items())
        return f"{counts}; A {_rate(row['A'])}, A or B {_rate(row['A_or_B'])}"
    consistency = _rate(row["position_consistency"])
    return (
        f"against {found['baseline']}: win rate {_rate(row['win_rate'])} ({row['wins']} won, {row['ties']} tied, "
        f"{row['losses']} lost; sign test p {row['sign_test_p']:.3g}), both orders agree in {consistency}"
    )


def _rate(rate: Values) -> str:
    return str(Rate(**rate))
