"""The records that pass between the stages: the lines of the run directory's JSONL files.

A writer puts every key, and a key has one type, so that `datasets` and pandas read the files as they are; "none yet" is
"" or 0.0, never null.
"""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pacos.errors import DataError
from pacos.files import read_jsonl, read_rows


@dataclass(frozen=True, slots=True)
class Task:
    """One instruction with its input ("" where none is needed) and its answer."""

    instruction: str
    input: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A line of `dataset.jsonl`: Alpaca's keys, then where the task came from."""

    instruction: str
    input: str
    output: str
    id: str
    instruction_id: str
    request: int
    item: int
    is_classification: str = "unknown"
    nearest_id: str = ""
    nearest_rougeL: float = 0.0
    mean_rougeL: float = 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """A line of `responses.jsonl`, the journal: one completed request. Only `sampled` ids name its examples."""

    request: int
    text: str
    finish_reason: str
    phase: str = "tasks"
    key: str = ""
    prompt_sha256: str = ""
    sampled: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Rejection:
    """A line of `rejected.jsonl`; `values` is JSON text, so that the column keeps one type."""

    request: int
    item: int
    reason: str
    values: str = "{}"
    nearest_id: str = ""
    nearest_rougeL: float = 0.0
    raw: str = ""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A line of `predictions.jsonl`; scores are on the 0–100 scale."""

    model: str
    suite: str
    task: str
    instance: str
    category: str
    prompt_sha256: str
    prediction: str
    raw: str
    references: list[str]
    rougeL: float
    exact_match: float
    finish_reason: str


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """A line of `answers.jsonl`: one sampled answer (the `sample`-th) of `model` to the task `id`."""

    id: str
    instruction: str
    input: str
    output: str
    model: str
    sample: int
    prompt_sha256: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """A line of `judgements.jsonl`: one completion of a judge, and the verdict read from it ("": unreadable).

    `sample` numbers the model's answers to the item, `repeat` the judgements of one answer. Verdicts are A–D (rubric),
    0–5 (additive), or `win`, `tie`, `loss` of `model` (pairwise, where `against` is the other and repeat 1 shows
    `model` first).
    """

    kind: str
    item: str
    model: str
    against: str
    sample: int
    repeat: int
    prompt_sha256: str
    truncated: bool
    verdict: str
    text: str
    finish_reason: str


@dataclass(frozen=True, slots=True)
class PairRow:
    """A line of `pairs.jsonl`: two answers to a task, the scores that chose between them, and the judge's words."""

    instruction: str
    input: str
    chosen: str
    rejected: str
    id: str
    chosen_score: float
    rejected_score: float
    chosen_judgements: list[str]
    rejected_judgements: list[str]


Record = TypeVar("Record", DatasetRow, Response, Rejection, Prediction, AnswerRow, Judgement, PairRow)


def read_records(path: Path, kind: type[Record], *, torn_tail: bool = False) -> list[Record]:
    """Read a JSONL file of records. With `torn_tail` an unfinished last line is left out.

    Raises DataError with file and line for a line that is not JSON, lacks a key or has one too many.
    """
    known = {spec.name for spec in dataclasses.fields(kind)}
    records = []
    for line, values in read_jsonl(path, torn_tail=torn_tail):
        if unknown := values.keys() - known:
            raise DataError(f"unknown key {sorted(unknown)[0]!r}", where=f"{path}:{line}")
        try:
            records.append(kind(**values))
        except TypeError as missing:
            raise DataError(str(missing).partition(" ")[2], where=f"{path}:{line}") from None
    return records


def read_tasks(path: Path) -> list[Task]:
    """Read Alpaca-format tasks: a `.json` list, a `.jsonl` file, or a folder that holds `dataset.jsonl`.

    Keys besides instruction, input and output are passed over; `input` may be absent.
    Raises DataError with file and line (or row) for a row that is not a task, and for an empty file.
    """
    if path.is_dir():
        path = path / "dataset.jsonl"
    tasks = [parse_task(values, where=where) for where, values in read_rows(path)]
    if not tasks:
        raise DataError("holds no tasks", where=str(path), todo="generate some first, or point to another file")
    return tasks


def parse_task(values: Any, *, where: str) -> Task:
    """A task from a row with Alpaca's keys. Raises DataError for one that is not a task."""
    if not isinstance(values, dict):
        raise DataError("a task is a JSON object", where=where)
    texts = {}
    for key in ("instruction", "input", "output"):
        text = values.get(key, "" if key == "input" else None)
        if not isinstance(text, str):
            raise DataError(f"`{key}` must be text" if key in values else f"`{key}` is missing", where=where)
        texts[key] = text
    if not texts["instruction"].strip():
        raise DataError("`instruction` is empty", where=where)
    return Task(**texts)
