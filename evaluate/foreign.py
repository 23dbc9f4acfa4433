"""Predictions in the formats of SuperNI's own scripts, read as our records.

Tk-Instruct (run_s2s.py, compute_metrics.py)   {"Task", "Instance": {"id", "output"}, "Prediction" or "prediction"}
the leaderboard (evaluation.py)                {"id", "prediction"}, and a file of references
                                               {"id", "references", "task_id", "task_category", "track"}
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.files import read_jsonl
from pacos.records import Prediction

# compute_metrics.py skips the first (bad data), and renames the second.
BAD_TASK = "task1415_"
RENAMED = {"task121_atomic_question_rewriting": "task121_zest_question_rewriting"}

# The finish reason of a row without a prediction. The published scripts score it as "".
MISSING = "missing"


def is_tk_instruct(values: Mapping[str, Any]) -> bool:
    """Whether a row is in the format of Tk-Instruct."""
    return "Task" in values and "Instance" in values


def is_leaderboard(values: Mapping[str, Any]) -> bool:
    """Whether a row is in the format of the leaderboard."""
    return "id" in values and "prediction" in values


def read_tk_instruct(path: Path) -> list[Prediction]:
    """Tk-Instruct's predictions, as `run_s2s.py` writes them.

    Raises DataError with file and line: no prediction, no output, a duplicate instance.
    """
    rows: dict[tuple[str, str], Prediction] = {}
    for line, values in read_jsonl(path):
        where = f"{path}:{line}"
        task = _text(values, "Task", where)
        if task.startswith(BAD_TASK):
            continue
        instance = values.get("Instance")
        if not isinstance(instance, dict):
            raise DataError("`Instance` must hold the instance's `output`", where=where)
        answer = "Prediction" if "Prediction" in values else "prediction"
        row = _row(
            suite="tk-instruct",
            task=RENAMED.get(task, task),
            instance=_name(values.get("id", instance.get("id", line)), "id", where),
            category=_first(values.get("Categories")),
            text=_text(values, answer, where),
            references=_references(instance.get("output"), "Instance.output", where),
        )
        if (row.task, row.instance) in rows:
            raise DataError(f"instance {row.instance!r} of {row.task} is answered twice", where=where)
        rows[row.task, row.instance] = row
    return list(rows.values())


def read_leaderboard(path: Path, references: Path, track: str) -> list[Prediction]:
    """One row for every reference of the track; a reference without prediction gets "".

    Raises DataError with file and line: an id that is a duplicate or has no reference, a reference without text, a
    track without references or without any prediction.
    """
    expected = _read_references(references)
    answers: dict[str, str] = {}
    for line, values in read_jsonl(path):
        where = f"{path}:{line}"
        id = _text(values, "id", where)
        if id in answers:
            raise DataError(f"duplicate id {id!r}", where=where)
        if id not in expected:
            raise DataError(f"{references} has no reference for the id {id!r}", where=where)
        answers[id] = _text(values, "prediction", where)
    of_track = {id: values for id, values in expected.items() if values.get("track", "default") == track}
    if not of_track:
        tracks = sorted({str(values.get("track", "default")) for values in expected.values()})
        raise DataError(f"holds no {track} track, but: {', '.join(tracks)}", where=str(references))
    if answers.keys().isdisjoint(of_track):
        raise DataError(
            f"holds no predictions of the {track} track" if answers else "holds no predictions",
            where=str(path),
            todo="give --track: its predictions are of the other one" if answers else None,
        )
    rows = [
        _row(
            suite=track,
            task=_name(values.get("task_id", "unknown"), "task_id", f"{references}, the reference {id!r}"),
            instance=id,
            category=_first(values.get("task_category")),
            text=answers.get(id, ""),
            references=values["references"],
        )
        for id, values in of_track.items()
    ]
    return [row if row.instance in answers else replace(row, finish_reason=MISSING) for row in rows]


def _read_references(path: Path) -> dict[str, dict[str, Any]]:
    expected: dict[str, dict[str, Any]] = {}
    for line, values in read_jsonl(path):
        where = f"{path}:{line}"
        id = _text(values, "id", where)
        if id in expected:
            raise DataError(f"duplicate id {id!r}", where=where)
        _references(values.get("references"), "references", where)
        expected[id] = values
    return expected


def _row(*, suite: str, task: str, instance: str, category: str, text: str, references: list[str]) -> Prediction:
    """A prediction that is yet to be scored."""
    return Prediction(
        model="predictions",
        suite=suite,
        task=task,
        instance=instance,
        category=category,
        prompt_sha256="",
        prediction=text,
        raw=text,
        references=references,
        rougeL=0.0,
        exact_match=0.0,
        finish_reason="stop",
    )


def _first(categories: Any) -> str:
    """Textual Entailment → textual_entailment; "unknown" where none is named."""
    name = categories[0] if isinstance(categories, list) and categories else categories
    return "_".join(name.lower().split()) if isinstance(name, str) else "unknown"


def _name(value: Any, key: str, where: str) -> str:
    """An id, which some files have as a number."""
    if type(value) not in (str, int):
        raise DataError(f"`{key}` must be text or a whole number", where=where)
    return str(value)


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    if not isinstance(values.get(key), str):
        raise DataError(f"`{key}` must be text" if key in values else f"`{key}` is missing", where=where)
    return str(values[key])


def _references(value: Any, key: str, where: str) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(text, str) for text in value):
        raise DataError(f"`{key}` must be a list of texts that is not empty", where=where)
    return value
