"""From answers to `scores.json`, without engine or model.

Metrics are averaged over all instances of all tasks, as published; 0–100 scale.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.foreign import MISSING, is_leaderboard, is_tk_instruct, read_leaderboard, read_tk_instruct
from pacos.evaluate.metrics import EXACT_MATCH, ROUGE_L, first_line, score_answer
from pacos.evaluate.tracks import DEFAULT, answers_tokenizer, tokenizer_note
from pacos.files import read_jsonl
from pacos.records import Prediction, read_records
from pacos.results import write_result
from pacos.results.evaluation import CategoryScores, Evaluation, MeanScores, Scores, TaskScores
from pacos.superni.tasks import official_total

# The published scripts round so.
DIGITS = 4

InstanceKey = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ScoredAnswer:
    """One prediction with its scores by metric, 0–100."""

    row: Prediction
    scores: Mapping[str, float]

    @property
    def key(self) -> InstanceKey:
        """(task, instance)"""
        return self.row.task, self.row.instance


@dataclass(frozen=True, slots=True)
class ScoredEvaluation:
    """The scored answers of one evaluation, by (task, instance) in that order, with ROUGE-L over the tokens of
    `tokenizer`; `record` is None where it is unknown what was evaluated."""

    name: str
    suite: str
    folder: Path
    answers: Mapping[InstanceKey, ScoredAnswer]
    record: Evaluation | None = None
    tokenizer: str = "rouge"

    @property
    def prompt(self) -> str:
        """Name of the prompt, "" where it is unknown."""
        return self.record.settings.prompt if self.record else ""

    @property
    def n_expected(self) -> int:
        """Instances of the suite, 0 where that is unknown."""
        return self.record.settings.n_expected if self.record else 0

    @property
    def note(self) -> str:
        """How much of the suite the answers cover, in words, and what their tokenizer means for the scores."""
        references = [answer.row.references for answer in self.answers.values()]
        return coverage_note(len(self.answers), self.n_expected) + tokenizer_note(self.tokenizer, references)

    def only(self, keys: Container[InstanceKey]) -> "ScoredEvaluation":
        """The evaluation with the answers to these instances alone."""
        return replace(self, answers={key: answer for key, answer in self.answers.items() if key in keys})


def score_file(
    path: Path, out: Path | None = None, *, references: Path | None = None, track: str | None = None
) -> Scores:
    """Score a file of predictions (pacos', Tk-Instruct's, or the leaderboard's with `references`) and write to `out`.

    Scores in the file are computed again. `evaluation.json` next to a file of pacos has what predictions lack: the
    prompt, the adapter, how many instances the suite has. `track` (default, xlingual) decides the tokenizer, and which
    references of the leaderboard's file count; without one see `answers_tokenizer`. Raises DataError: no such file, a
    broken line, no predictions, one without reference, an instance answered twice, several models or suites in one
    file.
    """
    first = next((values for _, values in read_jsonl(path)), {})
    if references:
        track = track or DEFAULT
        evaluation = _scored(read_leaderboard(path, references, track), path.parent, track=track)
    elif is_tk_instruct(first):
        evaluation = _scored(read_tk_instruct(path), path.parent, track=track)
    elif is_leaderboard(first):
        todo = "give --references, a file as natural-instructions' create_reference_file.py writes it"
        raise DataError("holds predictions without references", where=str(path), todo=todo)
    else:
        _check_is_ours(first, path)
        evaluation = _scored(read_predictions(path), path.parent, read_evaluation(path.parent), track=track)
    scores = evaluation_scores(evaluation)
    if out:
        write_result(out, scores)
    return scores


def _check_is_ours(first: Mapping[str, Any], path: Path) -> None:
    """Raises DataError where the first row has no prediction: it is of another form, and not one with a mistake."""
    if first and first.keys().isdisjoint(("prediction", "raw")):
        raise DataError(
            f"its rows are no predictions, but have {', '.join(sorted(first)[:6])}",
            where=str(path),
            todo="score pacos' predictions.jsonl, Tk-Instruct's predicted_examples.jsonl (Task, Instance, Prediction), "
            "or the leaderboard's rows (id, prediction) with --references",
        )


def read_scored(folder: Path, *, recorded: bool = False) -> ScoredEvaluation:
    """The scored answers of `eval/<label>/`. Raises DataError as `score_file` does, and where there is no such folder.

    With `recorded` the scores in the file are used, which `pacos evaluate` computed as the answers came, and only
    the other metrics are computed.
    """
    if not folder.is_dir():
        raise DataError("no such folder of an evaluation", where=str(folder), todo="name eval/<label>/ of a run")
    rows = read_predictions(folder / "predictions.jsonl")
    return _scored(rows, folder, read_evaluation(folder), recorded=recorded)


def _scored(
    rows: Sequence[Prediction],
    folder: Path,
    record: Evaluation | None = None,
    *,
    recorded: bool = False,
    track: str | None = None,
) -> ScoredEvaluation:
    used = record.settings.tokenizer if record else ""
    n_expected = record.settings.n_expected if record else official_total({row.task for row in rows})
    tokenizer = answers_tokenizer(track, used, n_expected, [row.references for row in rows])
    answers = []
    for row in rows:
        known = {ROUGE_L.name: row.rougeL, EXACT_MATCH.name: row.exact_match} if recorded else {}
        answers.append(ScoredAnswer(row, score_answer(row.prediction, row.references, known, tokenizer)))
    by_key = {answer.key: answer for answer in answers}
    return ScoredEvaluation(rows[0].model, rows[0].suite, folder, by_key, record, tokenizer)


def read_predictions(path: Path) -> list[Prediction]:
    """One model's predictions on one suite, ordered by task and instance. Raises DataError as `score_file` does."""
    rows = read_records(path, Prediction)
    if not rows:
        raise DataError("holds no predictions", where=str(path))
    subjects = {(row.model, row.suite) for row in rows}
    if len(subjects) > 1:
        raise DataError(f"holds several models or suites: {sorted(subjects)}", where=str(path), todo="one file each")
    seen = set()
    for index, row in enumerate(rows):
        if not row.references:
            where = _line_of(path, index)
            raise DataError(f"instance {row.instance!r} of {row.task} has no references", where=where)
        if (row.task, row.instance) in seen:
            where = _line_of(path, index)
            raise DataError(f"instance {row.instance!r} of {row.task} is answered twice", where=where)
        seen.add((row.task, row.instance))
    return sorted(rows, key=lambda row: (row.task, row.instance))


def _line_of(path: Path, row: int) -> str:
    """file:line of the row with this index; blank lines are no rows."""
    lines = [line for line, _ in read_jsonl(path)]
    return f"{path}:{lines[row]}"


def evaluation_scores(evaluation: ScoredEvaluation) -> Scores:
    """The scores of one evaluation; they do not depend on the order of its answers."""
    answers, record = list(evaluation.answers.values()), evaluation.record
    means = metric_means(answers)
    scores = Scores(
        rougeL=means["rougeL"],
        exact_match=means["exact_match"],
        first_line=MeanScores(means["first_line_rougeL"], _first_line_exact_match(answers)),
        n=len(answers),
        n_expected=evaluation.n_expected,
        complete=len(answers) == evaluation.n_expected,
        note=evaluation.note + _missing_note(answers),
        model=evaluation.name,
        suite=evaluation.suite,
        per_task={task: _task_scores(group) for task, group in grouped(answers, lambda row: row.task)},
        per_category={name: _category_scores(group) for name, group in grouped(answers, lambda row: row.category)},
        metrics=means,
        tokenizer=evaluation.tokenizer,
    )
    return replace(scores, prompt=record.prompt, adapter=record.adapter, base=record.base) if record else scores


def metric_means(answers: Sequence[ScoredAnswer]) -> dict[str, float]:
    """{metric: mean over the answers}"""
    return {metric: _mean([answer.scores[metric] for answer in answers]) for metric in answers[0].scores}


def grouped(answers: Iterable[ScoredAnswer], key: Callable[[Prediction], str]) -> list[tuple[str, list[ScoredAnswer]]]:
    """(key, its answers) for each key, sorted."""
    groups: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for answer in answers:
        groups[key(answer.row)].append(answer)
    return sorted(groups.items())


def _mean(values: Sequence[float]) -> float:
    return round(math.fsum(values) / len(values), DIGITS)


def _first_line_exact_match(answers: Sequence[ScoredAnswer]) -> float:
    rows = [answer.row for answer in answers]
    return _mean([EXACT_MATCH.measure(first_line(row.prediction), row.references) for row in rows])


def _task_scores(answers: Sequence[ScoredAnswer]) -> TaskScores:
    means = metric_means(answers)
    return TaskScores(means["rougeL"], means["exact_match"], len(answers), answers[0].row.category)


def _category_scores(answers: Sequence[ScoredAnswer]) -> CategoryScores:
    means = metric_means(answers)
    tasks = {answer.row.task for answer in answers}
    return CategoryScores(means["rougeL"], means["exact_match"], len(answers), len(tasks))


def _missing_note(answers: Sequence[ScoredAnswer]) -> str:
    missing = sum(answer.row.finish_reason == MISSING for answer in answers)
    return f"; {missing:,} without a prediction, scored as empty" if missing else ""


def coverage_note(n: int, n_expected: int) -> str:
    """How much of a suite `n` answers cover, in words; `n_expected` is 0 where that is unknown."""
    if not n_expected:
        return "whether these are all instances of the suite is not known here"
    if n == n_expected:
        return f"all {n:,} instances"
    return f"{n:,} of {n_expected:,} instances: not comparable with published numbers"
