"""Rows of a file of any form that data comes in: JSON, JSON lines, CSV and TSV, all maybe with gzip, Parquet, Arrow.

What a file begins with tells its form, and for CSV its name. Every row comes with its place, `file:line`, or
`file:row n` where the form has no lines.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.files import read_rows, rows_of
from pacos.json_text import check_form, decode, unreadable

GZIP, PARQUET, ARROW = b"\x1f\x8b", b"PAR1", b"ARROW1"
SEPARATORS = {".csv": ",", ".tsv": "\t"}


def read_table(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield (place, row) of a file. Cells of CSV are texts, an absent one "".

    Raises DataError as `read_rows`, and for a file that is damaged or cut.
    """
    try:
        with path.open("rb") as content:
            start = content.read(8)
    except (OSError, ValueError) as failure:
        raise unreadable(failure, path) from None
    if start.startswith((PARQUET, ARROW)):
        return _read_arrow(path, start.startswith(PARQUET))
    if start.startswith(GZIP):
        return _read_unpacked(path)
    if path.suffix.lower() in SEPARATORS:
        return _read_cells(path.read_bytes(), path, SEPARATORS[path.suffix.lower()])
    return read_rows(path)


def _read_unpacked(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        with gzip.open(path) as content:
            unpacked = content.read()
    except (OSError, EOFError, zlib.error) as failure:
        raise DataError(f"cannot be unpacked: {failure}", where=str(path), todo="copy it again") from failure
    if separator := SEPARATORS.get(Path(path.stem).suffix.lower()):
        yield from _read_cells(unpacked, path, separator)
        return
    check_form(unpacked, str(path))
    yield from rows_of(io.BufferedReader(io.BytesIO(unpacked)), path)


def _read_cells(content: bytes, path: Path, separator: str) -> Iterator[tuple[str, Any]]:
    lines = csv.DictReader(io.StringIO(decode(content, str(path)), newline=""), delimiter=separator, strict=True)
    try:
        names = lines.fieldnames or []
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise DataError(f"the column {twice!r} stands twice", where=f"{path}:1", todo="keep one of the two")
        for row in lines:
            if None in row or None in row.values():
                cells = sum(cell is not None for name, cell in row.items() if name) + len(row.get(None, ()))  # type: ignore[call-overload]
                raise DataError(f"has {cells} cells, and the first line {len(names)}", where=f"{path}:{lines.line_num}")
            yield f"{path}:{lines.line_num}", row
    except csv.Error as broken:
        raise DataError(f"not CSV: {broken}", where=f"{path}:{lines.reader.line_num}") from None


def _read_arrow(path: Path, is_parquet: bool) -> Iterator[tuple[str, Any]]:
    import pyarrow
    from pyarrow import ipc, parquet

    try:
        if is_parquet:
            batches = parquet.ParquetFile(path).iter_batches()
        else:
            opened = ipc.open_file(str(path))
            batches = (opened.get_batch(number) for number in range(opened.num_record_batches))
        number = 0
        for batch in batches:
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:row {number}", row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as failure:
        raise DataError(
            f"cannot be read: {str(failure).splitlines()[0]}", where=str(path), todo="copy it again, or write it anew"
        ) from failure
