"""Contestants against the first of them, instance by instance: `comparison.json`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.baselines import NO_PROMPT
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.intervals import CONFIDENCE, holm, paired_difference
from pacos.evaluate.models import training_step
from pacos.evaluate.postprocess import first_line
from pacos.evaluate.published import published_rows
from pacos.evaluate.score import coverage_note, mean, metrics, read_predictions
from pacos.records import Prediction, write_json

METRICS = ("rougeL", "exact_match", "first_line_rougeL")


@dataclass(frozen=True, slots=True)
class Answer:
    """One instance's scores, in the order of METRICS."""

    task: str
    category: str
    scores: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Evaluated:
    name: str
    suite: str
    prompt: str
    note: str
    n_expected: int
    answers: dict[tuple[str, str], Answer]
    references: dict[tuple[str, str], list[str]]
    folder: Path


def compare(folders: Sequence[Path], out: Path, name: str = "comparison.json") -> dict[str, Any]:
    """Compare the evaluations in `folders` (`eval/<label>/`) with the first; writes `out/name` and returns it.

    Raises DataError: fewer than two, or evaluations of different suites, prompts or instances.
    """
    if len(folders) < 2:
        raise DataError("a comparison needs two evaluations or more", todo="pacos compare eval/base eval/tuned")
    contestants = _with_own_names([_read(folder) for folder in folders])
    base, *others = contestants
    for other in others:
        _check_alike(base, other)
    comparison = {
        "suite": base.suite,
        "prompt": base.prompt,
        "note": base.note,
        "confidence": CONFIDENCE,
        "n": len(base.answers),
        "tasks": len({answer.task for answer in base.answers.values()}),
        "base": {"name": base.name, "label": base.folder.name, **_means(list(base.answers.values()))},
        "contestants": _contestants(base, others),
        "published": published_rows(base.n_expected),
        "per_category": _table(contestants, lambda answer: answer.category),
        "per_task": _table(contestants, lambda answer: answer.task),
    }
    write_json(out / name, comparison)
    return comparison


def table(comparison: dict[str, Any]) -> str:
    """For the terminal: ROUGE-L of each, the difference to the base, tasks won and lost."""
    base = comparison["base"]
    width = max(len(one["name"]) for one in [base, *comparison["contestants"]])
    lines = [
        f"{comparison['suite']}, prompt {comparison['prompt']}: {comparison['note']}",
        f"{'':{width}}  ROUGE-L  exact match  ROUGE-L against {base['name']} (95 %, {comparison['tasks']} tasks)",
        f"{base['name']:{width}}  {base['rougeL']:7.2f}  {base['exact_match']:11.2f}",
    ]
    for one in comparison["contestants"]:
        against = one["against_base"]["rougeL"]
        interval = f"{against['difference']:+.2f} [{against['low']:+.2f}, {against['high']:+.2f}]"
        interval += f", p {against['p_holm']:.2g}"
        tasks = f"{against['wins']} tasks won, {against['losses']} lost"
        lines.append(f"{one['name']:{width}}  {one['rougeL']:7.2f}  {one['exact_match']:11.2f}  {interval}, {tasks}")
    return "\n".join(lines)


def _read(folder: Path) -> Evaluated:
    rows = read_predictions(folder / "predictions.jsonl")
    evaluation = read_evaluation(folder)
    n_expected = evaluation.settings.n_expected if evaluation else 0
    return Evaluated(
        name=rows[0].model,
        suite=rows[0].suite,
        prompt=evaluation.settings.prompt if evaluation else "",
        note=coverage_note(len(rows), n_expected),
        n_expected=n_expected,
        answers={(row.task, row.instance): _answer(row) for row in rows},
        references={(row.task, row.instance): row.references for row in rows},
        folder=folder,
    )


def _with_own_names(contestants: Sequence[Evaluated]) -> list[Evaluated]:
    """Two runs' `tuned` are `one/tuned` and `other/tuned`. Raises DataError for one evaluation named twice."""
    counts = Counter(one.name for one in contestants)
    named = [
        replace(one, name=f"{one.folder.resolve().parents[1].name}/{one.name}") if counts[one.name] > 1 else one
        for one in contestants
    ]
    names = [one.name for one in named]
    if twice := [name for name in names if names.count(name) > 1]:
        raise DataError(f"{twice[0]!r} is there twice", where=", ".join(str(one.folder) for one in contestants))
    return named


def _answer(row: Prediction) -> Answer:
    rouge, exact = metrics(row.prediction, row.references)
    first_rouge, _ = metrics(first_line(row.prediction), row.references)
    return Answer(row.task, row.category, (rouge, exact, first_rouge))


def _check_alike(base: Evaluated, other: Evaluated) -> None:
    where = f"{base.folder} and {other.folder}"
    if base.suite != other.suite:
        raise DataError(f"different suites: {base.suite!r} and {other.suite!r}", where=where)
    # A baseline that reads no prompt goes with any.
    if other.prompt not in (base.prompt, NO_PROMPT) and base.prompt != NO_PROMPT:
        raise DataError(f"different prompts: {base.prompt!r} and {other.prompt!r}", where=where)
    if odd := sorted(base.answers.keys() ^ other.answers.keys()):
        task, instance = odd[0]
        raise DataError(
            f"{len(odd)} instances are answered in one of them only, the first of them {instance!r} of {task}",
            where=where,
            todo="finish both with the same suite and limit",
        )
    for key, references in base.references.items():
        if references != other.references[key]:
            raise DataError(f"instance {key[1]!r} of {key[0]} has other references", where=where)


def _contestants(base: Evaluated, others: Sequence[Evaluated]) -> list[dict[str, Any]]:
    """Each against the base; `p_holm` counts the models among them as one family, the baselines as none of it."""
    rows = [
        {
            "name": other.name,
            "label": other.folder.name,
            "step": training_step(other.name),
            **_against(base, other),
        }
        for other in others
    ]
    for metric in METRICS:
        for row in rows:
            row["against_base"][metric]["p_holm"] = row["against_base"][metric]["p"]
        models = [
            row["against_base"][metric] for row, other in zip(rows, others, strict=True) if other.prompt != NO_PROMPT
        ]
        for found, adjusted in zip(models, holm([found["p"] for found in models]), strict=True):
            found["p_holm"] = adjusted
    return rows


def _against(base: Evaluated, other: Evaluated) -> dict[str, Any]:
    return {
        **_means(list(other.answers.values())),
        "against_base": _differences(base, other, list(base.answers)),
        "per_category": {
            category: _differences(base, other, keys)
            for category, keys in _keys_by(base, lambda answer: answer.category)
        },
    }


def _differences(base: Evaluated, other: Evaluated, keys: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """{metric: the paired difference over the instances `keys`}."""
    found = {}
    for index, metric in enumerate(METRICS):
        by_task = defaultdict(list)
        for key in keys:
            by_task[key[0]].append(other.answers[key].scores[index] - base.answers[key].scores[index])
        found[metric] = asdict(paired_difference(by_task))
    return found


def _table(contestants: Sequence[Evaluated], group: Callable[[Answer], str]) -> dict[str, Any]:
    """{group: {category, n, tasks, scores: {contestant: {metric: mean}}}}"""
    rows = {}
    for name, keys in _keys_by(contestants[0], group):
        first = [contestants[0].answers[key] for key in keys]
        rows[name] = {
            "category": first[0].category,
            "n": len(keys),
            "tasks": len({answer.task for answer in first}),
            "scores": {one.name: _means([one.answers[key] for key in keys]) for one in contestants},
        }
    return rows


def _keys_by(contestant: Evaluated, group: Callable[[Answer], str]) -> list[tuple[str, list[tuple[str, str]]]]:
    keys: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key, answer in contestant.answers.items():
        keys[group(answer)].append(key)
    return sorted(keys.items())


def _means(answers: Sequence[Answer]) -> dict[str, float]:
    return {metric: mean([answer.scores[index] for answer in answers]) for index, metric in enumerate(METRICS)}
