"""Files of JSON and JSONL, read with clear errors and written whole or not at all. Every file is UTF-8."""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import os
import secrets
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from pacos.disk import disk_error as disk_error
from pacos.disk import open_to_append, sync_folder
from pacos.disk import sync_tree as sync_tree
from pacos.errors import DataError, RunError
from pacos.json_text import (
    BOM,
    SIGNATURE_BYTES,
    SURROGATE,
    check_form,
    decode,
    decode_pieces,
    parse_json,
    parse_json_list,
    read_text,
    unreadable,
)
from pacos.names import safe_name as safe_name

log = logging.getLogger("pacos")


def read_jsonl(path: Path, *, torn_tail: bool = False, repair: bool = False) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSONL file; blank lines are skipped, and the last needs no newline.

    `torn_tail` is for append-only files of ours: a last line that a crash cut short is left out, and said. `repair` is
    as in `parse_json`. Raises DataError with file and line: absent or unreadable, not JSON, not an object, a key twice.
    """
    with _open(path) as lines:
        yield from _parsed_lines(lines, path, torn_tail, repair)


def _parsed_lines(lines: IO[bytes], path: Path, torn_tail: bool, repair: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(lines, 1):
        if number == 1:
            line = line.removeprefix(BOM)
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            values = parse_json(decode(line.strip(), where), where, repair=repair)
            if not isinstance(values, dict):
                todo = _AS_LINES if number == 1 else None
                raise DataError("each line must be a JSON object", where=where, todo=todo)
        except DataError as broken:
            if torn_tail and not line.endswith(b"\n"):
                log.warning("%s: the last line is cut short and left out", where)
                return
            raise _explained(broken, line.strip(), number) from None
        yield number, values


def _explained(broken: DataError, line: bytes, number: int) -> DataError:
    """The error of a line, with what the file probably is where its first line is no JSON at all."""
    if number > 1 or not broken.what.startswith("not JSON: "):
        return broken
    if line.startswith(b"["):
        return DataError("each line must be a JSON object; this is a list", where=broken.where, todo=_AS_LINES)
    if line.startswith((b"{", b"<")):
        return DataError(broken.what, where=broken.where, todo=_AS_LINES if line == b"{" else None)
    return DataError(
        f"{broken.what}; files of rows are JSON lists or JSON lines",
        where=broken.where,
        todo="convert it; a folder of CSV or Parquet files is read as hub:",
    )


_AS_LINES = "write one object per line, e.g. by jq -c '.[]' (a list) or jq -c . (objects over several lines)"


def _open(path: Path) -> BufferedReader:
    """A file at its beginning. Raises DataError for one that is absent, unreadable, compressed or binary."""
    try:
        content = path.open("rb")
    except (OSError, ValueError) as failure:
        raise unreadable(failure, path) from None
    try:
        check_form(content.peek(SIGNATURE_BYTES), str(path))
    except BaseException:
        content.close()
        raise
    return content


def read_rows(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, value) of the rows of a JSON list or of JSON lines, told apart by what the file begins with.

    Raises DataError as `read_jsonl`.
    """
    with _open(path) as content:
        yield from rows_of(content, path)


def rows_of(content: BufferedReader, path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what `read_rows` does, of a file that is open at its beginning."""
    if content.peek(4096).removeprefix(BOM).lstrip().startswith(b"["):
        yield from parse_json_list(decode_pieces(content, str(path)), str(path))
        return
    for line, values in _parsed_lines(content, path, torn_tail=False, repair=False):
        yield f"{path}:{line}", values


def read_object(path: Path, *, todo: str) -> dict[str, Any]:
    """A file that holds one JSON object. Raises DataError, with `todo` where the file is absent or is not JSON."""
    try:
        values = parse_json(read_text(path), str(path), repair=True)
    except DataError as broken:
        raise DataError(broken.what, where=broken.where, todo=todo) from None
    if not isinstance(values, dict):
        raise DataError("must be a JSON object", where=str(path), todo=todo)
    return values


class JsonlWriter:
    """Appends records to a JSONL file, each flushed to the operating system before `write` returns.

    Opening drops a last line that was cut short, and ends one that is whole but for its newline. A write that fails
    (a full disk) leaves the file ending at the last whole line and raises RunError. With `sync` each line is on the
    disk itself before `write` returns. A link in the file's place is refused (RunError): what it points to may be
    anything.
    """

    def __init__(self, path: Path, *, sync: bool = False) -> None:
        self.path = path
        self.sync = sync
        self._file = os.fdopen(open_to_append(path), "ab", buffering=0)
        try:
            self._end = _whole_lines(path)
            if rest := _object_after(path, self._end):
                self._file.write(b"\n")
                self._end += rest + 1
            self._file.truncate(self._end)
        except OSError as failure:
            raise disk_error(failure, path) from failure

    def write(self, record: Any) -> None:
        """Append one record: a dataclass or a mapping. A lone surrogate in it is written as U+FFFD."""
        line = _encoded(record_text(record) + "\n")
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

    def to_disk(self) -> None:
        """Wait until every line is on the disk itself. Raises RunError where the disk fails."""
        try:
            os.fsync(self._file.fileno())
        except OSError as failure:
            raise disk_error(failure, self.path) from failure

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "JsonlWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _object_after(path: Path, start: int) -> int:
    """The length of what follows `start` if that is a JSON object, else 0."""
    with path.open("rb") as content:
        content.seek(start)
        rest = content.read()
    try:
        return len(rest) if isinstance(parse_json(decode(rest, ""), "", repair=True), dict) else 0
    except DataError:
        return 0


def _encoded(text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        # No file of ours holds half a character: most libraries fail on it.
        return SURROGATE.sub("\ufffd", text).encode("utf-8")


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
    write_text(path, "".join(record_text(record) + "\n" for record in records))


def record_text(record: Any) -> str:
    """A record, a dataclass or a JSON value, as JSON on one line."""
    # Not asdict, which copies every value, and takes most of the time.
    return json.dumps(record, ensure_ascii=False, default=_fields)


def _fields(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in _names(type(record))}  # type: ignore[arg-type]


@functools.cache
def _names(kind: type[Any]) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented; an interrupted write leaves the old file."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Replace a file by one with this text; see `write_bytes`."""
    write_bytes(path, _encoded(text))


def write_bytes(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Replace a file: the old content or the new, never half.

    The content is written to a new file under a random name, synced, and renamed: no link that lies in the folder is
    followed, and one in the file's place is replaced. `mode` are its rights, before the umask. Raises RunError where
    that cannot be done.
    """
    # Of its own length, so that any name that the file may have leaves room for it.
    temporary = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as failure:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise disk_error(failure, path) from failure


def make_folder(path: Path) -> None:
    """Make a folder to write into, and those above it. Raises RunError where that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise disk_error(failure, path) from failure
    if not os.access(path, os.W_OK):
        raise RunError("cannot write: the folder is read-only", where=str(path), todo="check the folder's rights")


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def line_count(path: Path) -> int:
    """Lines of a JSONL file; 0 for a file of any other kind. A last line without newline counts."""
    if path.suffix != ".jsonl":
        return 0
    lines, last = 0, b"\n"
    with path.open("rb") as content:
        for block in iter(lambda: content.read(1 << 20), b""):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")
