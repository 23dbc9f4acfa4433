"""The records that pass between the stages: the lines of the run directory's JSONL files.

A writer puts every key, and a key has one type, so that `datasets` and pandas read the files as they are; "none yet" is
"" or 0.0, never null.
"""

import math
import os
import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pacos.errors import DataError, OtherForm
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


# The verdicts of an additive judge.
SCORES = ("0", "1", "2", "3", "4", "5")


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


Record = TypeVar("Record")


def read_records(path: Path, kind: type[Record], *, torn_tail: bool = False) -> list[Record]:
    """Read a JSONL file of records. With `torn_tail` a last line that was cut short is left out.

    Raises DataError with file and line for a line that is not JSON, lacks a key, has one too many, or has a value of
    another type.
    """
    rows = read_jsonl(path, torn_tail=torn_tail, repair=True)
    return [parse_record(values, kind, where=f"{path}:{line}") for line, values in rows]


def parse_record(values: Mapping[str, Any], kind: type[Record], *, where: str) -> Record:
    """A record from a JSON object. Raises DataError for a key that is missing or unknown, and for another type."""
    types = _types(kind)
    if unknown := values.keys() - types.keys():
        raise DataError(f"unknown key {sorted(unknown)[0]!r}", where=where)
    for key, value in values.items():
        fits, expected = _CHECKS[types[key]]
        if not fits(value):
            raise DataError(f"`{key}` must be {expected}, not {reprlib.repr(value)}", where=where)
    try:
        return kind(**values)
    except TypeError as missing:
        raise DataError(str(missing).partition(" ")[2], where=where) from None


def _types(kind: type[Any]) -> dict[str, Any]:
    if kind not in _TYPES:
        _TYPES[kind] = get_type_hints(kind)
    return _TYPES[kind]


# get_type_hints takes as long as checking a record.
_TYPES: dict[type[Any], dict[str, Any]] = {}


def _is_integer(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # an integer beyond all floats
        return False


def _is_list_of_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


# By the type of a record's field: whether a value is of it, and what to call it.
_CHECKS: dict[Any, tuple[Callable[[Any], bool], str]] = {
    str: (lambda value: isinstance(value, str), "text"),
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_is_integer, "a whole number"),
    float: (_is_number, "a number"),
    list[str]: (_is_list_of_texts, "a list of texts"),
}


def read_tasks(path: Path) -> list[Task]:
    """Read Alpaca-format tasks: a JSON list, JSON lines, or a folder that holds `dataset.jsonl`.

    Keys besides instruction, input and output are passed over, but for those of conversations (see `parse_task`).
    Raises DataError with file and line (or row) for a row that is not a task, and for an empty file.
    """
    path = tasks_file(path)
    tasks = [parse_task(values, where=where) for where, values in read_rows(path)]
    if not tasks:
        raise DataError("holds no tasks", where=str(path), todo="generate some first, or point to another file")
    return tasks


def tasks_file(path: Path) -> Path:
    """The file of tasks: the path itself, or `dataset.jsonl` in a folder."""
    return path / "dataset.jsonl" if os.path.isdir(path) else path


def parse_task(values: Any, *, where: str) -> Task:
    """A task from a row with Alpaca's keys; an `input` that is absent or null is "".

    Raises OtherForm for a row that is (part of) a conversation, DataError for any other that is not a task.
    """
    if not isinstance(values, dict):
        raise DataError("a task is a JSON object", where=where)
    refuse_conversation(values, where=where)
    texts = {}
    for key in ("instruction", "input", "output"):
        text = values.get(key)
        if key == "input" and text is None:
            text = ""
        if not isinstance(text, str):
            raise DataError(f"`{key}` must be text" if key in values else f"`{key}` is missing", where=where)
        texts[key] = text
    if not texts["instruction"].strip():
        raise DataError("`instruction` is empty", where=where)
    return Task(**texts)


# Where other projects' rows have their answer, and the jq program that makes rows of ours.
CONVERSIONS = {
    "messages": "select(.messages | length == 2) | "
    '{instruction: .messages[0].content, input: "", output: .messages[1].content}',
    "conversations": "select(.conversations | length == 2) | "
    '{instruction: .conversations[0].value, input: "", output: .conversations[1].value}',
    "response": '{instruction: (.prompt // .instruction // .question), input: (.input // ""), output: .response}',
    "completion": '{instruction: (.prompt // .instruction), input: (.input // ""), output: .completion}',
    "answer": '{instruction: (.question // .instruction), input: (.input // ""), output: .answer}',
}


def refuse_conversation(values: Mapping[str, Any], *, where: str) -> None:
    """Raise OtherForm for a row with earlier turns or a system text, which would be dropped, or of another form.

    Another form is one without `output` that has its answer under a name that other projects use.
    """
    for key, what in (("history", "earlier turns"), ("system", "a system text"), ("system_prompt", "a system text")):
        if values.get(key) and str(values[key]).strip():
            raise OtherForm(
                f"`{key}` has {what}, which rows of instruction, input and output cannot hold",
                where=where,
                todo="to train on it, set train.template=chat; else write it into `instruction` and remove "
                f"`{key}`, or keep the rows without it: "
                f"jq -c 'select(.{key} | length == 0)' (of a JSON list, '.[] | select(…)')",
            )
    if "output" in values or "chosen" in values:
        return
    for key, program in CONVERSIONS.items():
        if key in values:
            single = ", of conversations with one question and one answer" if key.endswith("s") else ""
            raise OtherForm(
                f"has `{key}`, not `instruction`, `input` and `output`",
                where=where,
                todo=f"convert the file{single}: jq -c '{program}' FILE > tasks.jsonl (of a JSON list, '.[] | …')",
            )
