"""What passes between the stages: the records of the run directory, and how they are read and written.

Every file is UTF-8 JSON or JSONL. A writer puts every key, and a key has one type, so that `datasets` and
pandas read the files as they are; "none yet" is "" or 0.0, never null.
"""

import dataclasses
import errno
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from pacos.errors import DataError, RunError


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


def read_jsonl(path: Path, *, torn_tail: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSONL file; blank lines are passed over."""
    if not path.is_file():
        raise DataError("no such file", where=str(path))
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if torn_tail and not line.endswith(b"\n"):
                return
            if not line.strip():
                continue
            try:
                values = json.loads(line)
            except (json.JSONDecodeError, UnicodeDecodeError) as broken:
                raise DataError(f"not JSON: {broken}", where=f"{path}:{number}") from None
            if not isinstance(values, dict):
                raise DataError("each line must be a JSON object", where=f"{path}:{number}")
            yield number, values


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


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of the rows of a `.json` list or a JSONL file."""
    if path.suffix == ".json":
        yield from ((f"{path}:row {number}", values) for number, values in enumerate(_read_json_list(path), 1))
    else:
        yield from ((f"{path}:{number}", values) for number, values in read_jsonl(path))


def _read_json_list(path: Path) -> list[Any]:
    if not path.is_file():
        raise DataError("no such file", where=str(path))
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as broken:
        raise DataError(f"not JSON: {broken}", where=str(path)) from None
    if not isinstance(rows, list):
        raise DataError("must be a JSON list of tasks", where=str(path))
    return rows


def read_object(path: Path, *, todo: str) -> dict[str, Any]:
    """A file that holds one JSON object. Raises DataError, with `todo` where the file is absent or is not JSON."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError("no such file", where=str(path), todo=todo) from None
    except json.JSONDecodeError as broken:
        raise DataError(f"not JSON: {broken}", where=str(path), todo=todo) from None
    if not isinstance(values, dict):
        raise DataError("must be a JSON object", where=str(path))
    return values


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


class JsonlWriter:
    """Appends records to a JSONL file, each flushed to the operating system before `write` returns.

    Opening drops an unfinished last line. A write that fails (a full disk) leaves the file ending at the
    last whole line and raises RunError. With `sync` each line is on the disk itself before `write` returns.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self.path = path
        self.sync = sync
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)
        self._end = _whole_lines(path)
        self._file.truncate(self._end)

    def write(self, record: Any) -> None:
        values = record if isinstance(record, Mapping) else dataclasses.asdict(record)
        line = (json.dumps(values, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace")
        try:
            rest = memoryview(line)
            while rest:
                rest = rest[self._file.write(rest) :]
            if self.sync:
                os.fsync(self._file.fileno())
        except OSError as failure:
            self._file.truncate(self._end)
            raise disk_error(failure, self.path) from failure
        self._end += len(line)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "JsonlWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _whole_lines(path: Path) -> int:
    """Bytes up to and including the last newline."""
    size = path.stat().st_size
    with path.open("rb") as content:
        end = size
        while end > 0:
            start = max(0, end - 65_536)
            content.seek(start)
            newline = content.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def write_jsonl(path: Path, records: Iterable[Any]) -> None:
    """Write a whole JSONL file; an interrupted write leaves the old file."""
    rows = (record if isinstance(record, Mapping) else dataclasses.asdict(record) for record in records)
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file: the old content or the new, never half (written aside, synced, renamed)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    try:
        with aside.open("wb") as content:
            content.write(text.encode("utf-8", "backslashreplace"))
            content.flush()
            os.fsync(content.fileno())
        aside.replace(path)
    except OSError as failure:
        aside.unlink(missing_ok=True)
        raise disk_error(failure, path) from failure


def disk_error(failure: OSError, path: Path) -> RunError:
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            "the disk is full; everything written before is whole",
            where=str(path),
            todo="make space and run the same command again: it goes on from here",
        )
    return RunError(f"cannot write: {failure.strerror or failure}", where=str(path), todo="check the folder's rights")
