"""The published metrics, from answers to `scores.json`; no engine and no model.

ROUGE-L with stemmer and exact match, each the best over an instance's references, averaged over all instances
of all tasks (Tk-Instruct `compute_metrics.py`, natural-instructions `eval/automatic/evaluation.py`). 0–100 scale.
"""

import math
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.evaluation import Evaluation, read_evaluation
from pacos.evaluate.foreign import MISSING, is_leaderboard, is_tk_instruct, read_leaderboard, read_tk_instruct
from pacos.evaluate.postprocess import first_line
from pacos.records import Prediction, read_jsonl, read_records, write_json
from pacos.rouge import rouge_l_tokens, tokenize

# The published scripts round so.
DIGITS = 4

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, slots=True)
class Scores:
    """`scores.json`. `first_line` scores the same answers cut at their first line: a model that has learnt to
    stop, and nothing else, gains in `rougeL` and not there. A file of predictions alone does not know its suite:
    `n_expected` is 0 then.
    """

    rougeL: float
    exact_match: float
    first_line: dict[str, float]
    n: int
    n_expected: int
    complete: bool
    note: str
    model: str
    suite: str
    per_task: dict[str, dict[str, Any]]
    per_category: dict[str, dict[str, Any]]
    prompt: dict[str, Any]
    adapter: dict[str, Any]
    base: dict[str, str]

    def __str__(self) -> str:
        """A table for the terminal: the whole, then the categories."""
        rows = [("all", asdict(self) | {"tasks": len(self.per_task)}), *self.per_category.items()]
        width = max(len(name) for name, _ in rows)
        lines = [f"{self.model} on {self.suite}: {self.note}", f"{'':{width}}  ROUGE-L  exact match      n  tasks"]
        for name, row in rows:
            figures = f"{row['rougeL']:7.2f}  {row['exact_match']:11.2f}  {row['n']:5}  {row['tasks']:5}"
            lines.append(f"{name:{width}}  {figures}")
        return "\n".join(lines)


def metrics(prediction: str, references: Iterable[str]) -> tuple[float, float]:
    """(ROUGE-L, exact match) of one answer, each the best over the references, 0–100."""
    tokens, plain = tokenize(prediction, stemmer=True), normalise(prediction)
    references = list(references)
    rouge = max(rouge_l_tokens(tokens, tokenize(reference, stemmer=True)) for reference in references)
    exact = any(plain == normalise(reference) for reference in references)
    return 100 * rouge, 100.0 if exact else 0.0


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, single spaces; articles stay (unlike SQuAD's)."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())


def score_file(
    path: Path, out: Path | None = None, *, references: Path | None = None, track: str = "default"
) -> Scores:
    """Score a file of predictions (ours, Tk-Instruct's, or the leaderboard's with `references`) and write to `out`.

    Scores that the file holds are computed again. `evaluation.json` beside a file of ours says what predictions
    cannot: the prompt, the adapter, how many instances the suite has. Raises DataError: no such file, a broken
    line, no predictions, one without reference, an instance answered twice, several models or suites in one file.
    """
    first = next((values for _, values in read_jsonl(path)), {})
    if references:
        scores = tally(read_leaderboard(path, references, track), None)
    elif is_tk_instruct(first):
        scores = tally(read_tk_instruct(path), None)
    elif is_leaderboard(first):
        todo = "give --references, a file as natural-instructions' create_reference_file.py writes it"
        raise DataError("holds predictions without references", where=str(path), todo=todo)
    else:
        scores = tally(read_predictions(path), read_evaluation(path.parent))
    if out:
        write_json(out, asdict(scores))
    return scores


def read_predictions(path: Path) -> list[Prediction]:
    """One model's predictions on one suite, ordered by task and instance. Raises DataError as `score_file`."""
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


def tally(rows: Sequence[Prediction], evaluation: Evaluation | None) -> Scores:
    """Scores of one evaluation's answers; they do not depend on the order of the rows."""
    scored = [(row, *metrics(row.prediction, row.references)) for row in rows]
    first = [
        (rouge, exact) if (line := first_line(row.prediction)) == row.prediction else metrics(line, row.references)
        for row, rouge, exact in scored
    ]
    n_expected = evaluation.settings.n_expected if evaluation else 0
    return Scores(
        **_means([(rouge, exact) for _, rouge, exact in scored]),
        first_line=_means(first),
        n=len(rows),
        n_expected=n_expected,
        complete=len(rows) == n_expected,
        note=coverage_note(len(rows), n_expected) + _missing_note(rows),
        model=rows[0].model,
        suite=rows[0].suite,
        per_task=_by_task(scored),
        per_category=_by_category(scored),
        prompt=evaluation.prompt if evaluation else {},
        adapter=evaluation.adapter if evaluation else {},
        base=evaluation.base if evaluation else {},
    )


def mean(values: Sequence[float]) -> float:
    return round(math.fsum(values) / len(values), DIGITS)


Scored = tuple[Prediction, float, float]


def _means(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    return {"rougeL": mean([rouge for rouge, _ in pairs]), "exact_match": mean([exact for _, exact in pairs])}


def _by_task(scored: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    return {
        task: {
            **_means([(rouge, exact) for _, rouge, exact in group]),
            "n": len(group),
            "category": group[0][0].category,
        }
        for task, group in _grouped(scored, lambda row: row.task)
    }


def _by_category(scored: Sequence[Scored]) -> dict[str, dict[str, Any]]:
    return {
        category: {
            **_means([(rouge, exact) for _, rouge, exact in group]),
            "n": len(group),
            "tasks": len({row.task for row, _, _ in group}),
        }
        for category, group in _grouped(scored, lambda row: row.category)
    }


def _grouped(scored: Sequence[Scored], key: Callable[[Prediction], str]) -> list[tuple[str, list[Scored]]]:
    groups: dict[str, list[Scored]] = defaultdict(list)
    for item in scored:
        groups[key(item[0])].append(item)
    return sorted(groups.items())


def _missing_note(rows: Sequence[Prediction]) -> str:
    missing = sum(row.finish_reason == MISSING for row in rows)
    return f"; {missing:,} without a prediction, scored as empty" if missing else ""


def coverage_note(n: int, n_expected: int) -> str:
    if not n_expected:
        return "whether these are all instances of the suite is not known here"
    if n == n_expected:
        return f"all {n:,} instances"
    return f"{n:,} of {n_expected:,} instances: not comparable with published numbers"
