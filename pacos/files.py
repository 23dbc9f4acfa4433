"""Files of JSON and JSONL, read with clear errors and written whole or not at all. Every file is UTF-8."""

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pacos.errors import DataError, RunError


def read_jsonl(path: Path, *, torn_tail: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSONL file; blank lines are skipped."""
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
        """Append one record: a dataclass or a mapping."""
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
        """Close the file."""
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
    """Write one JSON value, indented; an interrupted write leaves the old file."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file: the old content or the new, never half (written to a temporary file, synced, renamed)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    try:
        with temporary.open("wb") as content:
            content.write(text.encode("utf-8", "backslashreplace"))
            content.flush()
            os.fsync(content.fileno())
        temporary.replace(path)
    except OSError as failure:
        temporary.unlink(missing_ok=True)
        raise disk_error(failure, path) from failure


def disk_error(failure: OSError, path: Path) -> RunError:
    """The error of a write that failed, with what to do about it."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            "the disk is full; everything written before is whole",
            where=str(path),
            todo="make space and rerun the same command: it resumes",
        )
    return RunError(f"cannot write: {failure.strerror or failure}", where=str(path), todo="check the folder's rights")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def line_count(path: Path) -> int:
    """Lines of a JSONL file; 0 for a file of any other kind."""
    if path.suffix != ".jsonl":
        return 0
    with path.open("rb") as content:
        return sum(block.count(b"\n") for block in iter(lambda: content.read(1 << 20), b""))
