"""Models against the first of them, instance by instance: `comparison.json`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.baselines import published_scores
from pacos.evaluate.comparable import comparable
from pacos.evaluate.intervals import CONFIDENCE, holm, paired_difference
from pacos.evaluate.models import training_step
from pacos.evaluate.score import InstanceKey, ScoredAnswer, ScoredEvaluation, grouped, metric_means, read_scored
from pacos.records import Prediction
from pacos.results import extend, write_result
from pacos.results.comparison import AdjustedDifference, ComparedBase, ComparedModel, Comparison, GroupScores
from pacos.results.evaluation import NO_PROMPT
from pacos.results.figures import Difference


def compare(folders: Sequence[Path], out: Path, name: str = "comparison.json", *, force: bool = False) -> Comparison:
    """Compare the evaluations in `folders` (`eval/<label>/`) with the first; writes `out/name` and returns it.

    Raises DataError as `compare_evaluations` does, and for predictions that cannot be scored.
    """
    if len(folders) < 2:
        raise DataError("a comparison needs two evaluations or more", todo="pacos compare eval/base eval/tuned")
    comparison = compare_evaluations([read_scored(folder) for folder in folders], force=force)
    write_result(out / name, comparison)
    return comparison


def compare_evaluations(evaluations: Sequence[ScoredEvaluation], *, force: bool = False) -> Comparison:
    """Compare evaluations with the first of them; with `force` also those that differ in more than the model.

    Raises DataError as `comparable` does.
    """
    evaluations, cautions = comparable(_with_unique_names(evaluations), force=force)
    base, *others = evaluations
    return Comparison(
        suite=base.suite,
        prompt=base.prompt,
        note=base.note,
        confidence=CONFIDENCE,
        n=len(base.answers),
        tasks=len({task for task, _ in base.answers}),
        base=_compared_base(base),
        contestants=_compared_models(base, others),
        published=published_scores(base.n_expected, base.tokenizer),
        per_category=_group_scores(evaluations, lambda row: row.category),
        per_task=_group_scores(evaluations, lambda row: row.task),
        tokenizer=base.tokenizer,
        cautions=cautions,
    )


def comparison_table(comparison: Comparison) -> str:
    """For the terminal: ROUGE-L of each model, the difference to the base, tasks won and lost."""
    base = comparison.base
    width = max(map(len, comparison.labels))
    lines = [
        f"{comparison.suite}, prompt {comparison.prompt}: {comparison.note}",
        f"{'':{width}}  ROUGE-L  exact match  ROUGE-L against {base.name} (95 %, {comparison.tasks} tasks)",
        f"{base.name:{width}}  {base.rougeL:7.2f}  {base.exact_match:11.2f}",
    ]
    for model in comparison.contestants:
        against = model.against_base["rougeL"]
        interval = f"{against.difference:+.2f} [{against.low:+.2f}, {against.high:+.2f}], p {against.p_holm:.2g}"
        tasks = f"{against.wins} tasks won, {against.losses} lost"
        lines.append(f"{model.name:{width}}  {model.rougeL:7.2f}  {model.exact_match:11.2f}  {interval}, {tasks}")
    lines += [f"caution: {caution}" for caution in comparison.cautions]
    return "\n".join(lines)


def _with_unique_names(evaluations: Sequence[ScoredEvaluation]) -> list[ScoredEvaluation]:
    """Two runs' `tuned` become `one/tuned` and `other/tuned`. Raises DataError for the same evaluation twice."""
    counts = Counter(one.name for one in evaluations)
    named = [
        replace(one, name=f"{one.folder.resolve().parent.parent.name}/{one.name}") if counts[one.name] > 1 else one
        for one in evaluations
    ]
    names = [one.name for one in named]
    if twice := [name for name in names if names.count(name) > 1]:
        where = ", ".join(str(one.folder) for one in evaluations)
        raise DataError(f"duplicate evaluation {twice[0]!r}", where=where, todo="name each folder once")
    return named


def _compared_base(base: ScoredEvaluation) -> ComparedBase:
    means = metric_means(list(base.answers.values()))
    return ComparedBase(
        name=base.name,
        label=base.folder.name,
        rougeL=means["rougeL"],
        exact_match=means["exact_match"],
        first_line_rougeL=means["first_line_rougeL"],
        metrics=means,
    )


def _compared_models(base: ScoredEvaluation, others: Sequence[ScoredEvaluation]) -> list[ComparedModel]:
    by_category = grouped(base.answers.values(), lambda row: row.category)
    against_base = _adjusted(others, [_differences(base, other, base.answers) for other in others])
    models = []
    for other, against in zip(others, against_base, strict=True):
        means = metric_means(list(other.answers.values()))
        model = ComparedModel(
            name=other.name,
            label=other.folder.name,
            step=training_step(other.name),
            rougeL=means["rougeL"],
            exact_match=means["exact_match"],
            first_line_rougeL=means["first_line_rougeL"],
            against_base=against,
            per_category={name: _differences(base, other, _keys(group)) for name, group in by_category},
            metrics=means,
        )
        models.append(model)
    return models


def _differences(base: ScoredEvaluation, other: ScoredEvaluation, keys: Iterable[InstanceKey]) -> dict[str, Difference]:
    """{metric: the paired difference over the instances `keys`}"""
    by_metric: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for key in keys:
        ours, theirs = base.answers[key].scores, other.answers[key].scores
        for metric, score in theirs.items():
            by_metric[metric][key[0]].append(score - ours[metric])
    return {metric: paired_difference(by_task) for metric, by_task in by_metric.items()}


def _adjusted(
    evaluations: Sequence[ScoredEvaluation], differences: Sequence[dict[str, Difference]]
) -> list[dict[str, AdjustedDifference]]:
    """With Holm's p-values per metric. The models are one family; baselines do not belong to it."""
    models = [index for index, one in enumerate(evaluations) if one.prompt != NO_PROMPT]
    adjusted: list[dict[str, AdjustedDifference]] = [{} for _ in evaluations]
    for metric in differences[0]:
        ps = [found[metric].p for found in differences]
        for index, p in zip(models, holm([ps[index] for index in models]), strict=True):
            ps[index] = p
        for row, found, p in zip(adjusted, differences, ps, strict=True):
            row[metric] = extend(AdjustedDifference, found[metric], p_holm=p)
    return adjusted


def _group_scores(
    evaluations: Sequence[ScoredEvaluation], group: Callable[[Prediction], str]
) -> dict[str, GroupScores]:
    rows = {}
    for name, answers in grouped(evaluations[0].answers.values(), group):
        keys = _keys(answers)
        rows[name] = GroupScores(
            category=answers[0].row.category,
            n=len(answers),
            tasks=len({task for task, _ in keys}),
            scores={one.name: metric_means([one.answers[key] for key in keys]) for one in evaluations},
        )
    return rows


def _keys(answers: Sequence[ScoredAnswer]) -> list[InstanceKey]:
    return [answer.key for answer in answers]
