import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import DataError
from pacos.train.data.files import read_table

ROWS = [
    {"instruction": "Add, please.", "input": "1\n2", "output": "3"},
    {"instruction": "Ü?", "input": "", "output": "é"},
]


def written(folder: Path, name: str) -> Path:
    """The rows as a file of the form that its name says."""
    path = folder / name
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    separator = "\t" if ".tsv" in name else ","
    cells = "".join(
        separator.join(f'"{cell}"' for cell in row) + "\r\n" for row in ([*ROWS[0]], *map(dict.values, ROWS))
    )
    content = {".jsonl": lines, ".json": json.dumps(ROWS, indent=1).encode(), ".csv": cells.encode()}
    content[".tsv"] = b"\xef\xbb\xbf" + cells.encode()
    plain = content[Path(name.removesuffix(".gz")).suffix]
    path.write_bytes(gzip.compress(plain) if name.endswith(".gz") else plain)
    return path


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.jsonl.gz", "a.json.gz", "a.csv.gz"])
def test_every_form_of_a_file_has_the_same_rows(tmp_path: Path, name: str) -> None:
    assert [row for _, row in read_table(written(tmp_path, name))] == ROWS


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_columns_of_messages_come_back_from_binary_files(tmp_path: Path, name: str) -> None:
    import pyarrow
    from pyarrow import ipc, parquet

    rows = [{"messages": [{"role": "user", "content": "Hi."}]}, {"messages": []}]
    table = pyarrow.Table.from_pylist(rows)
    if name.endswith("parquet"):
        parquet.write_table(table, tmp_path / name)
    else:
        with ipc.new_file(str(tmp_path / name), table.schema) as file:
            file.write_table(table)
    assert list(read_table(tmp_path / name)) == [(f"{tmp_path / name}:row {n}", row) for n, row in enumerate(rows, 1)]


def test_cells_stay_texts_and_lines_are_counted_over_their_breaks(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('instruction,output\n"Two\nlines",NA\nLegs?,8\n', encoding="utf-8")
    assert list(read_table(path)) == [
        (f"{path}:3", {"instruction": "Two\nlines", "output": "NA"}),
        (f"{path}:4", {"instruction": "Legs?", "output": "8"}),
    ]


WRONG: dict[str, tuple[str, bytes, str]] = {
    "cells": ("a.csv", b"a,b\n1,2\n3\n", "a.csv:3: has 1 cells, and the first line 2"),
    "more cells": ("a.csv", b"a,b\n1,2,3\n", "a.csv:2: has 3 cells, and the first line 2"),
    "column twice": ("a.csv", b"a,a\n1,2\n", "a.csv:1: the column 'a' stands twice"),
    "quote": ("a.csv", b'a,b\n"1,2\n', "a.csv:2: not CSV: unexpected end of data"),
    "encoding": ("a.csv", b"a,b\n\xe9,2\n", "a.csv: is not UTF-8: byte 0xe9 in line 2"),
    "cut gzip": ("a.jsonl.gz", gzip.compress(b'{"a": "b"}\n' * 99)[:-9], "a.jsonl.gz: cannot be unpacked"),
    "line in gzip": ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n{"a" 1}\n'), "a.jsonl.gz:2: not JSON"),
    "cut Parquet": ("a.parquet", b"PAR1" + b"\0" * 40, "a.parquet: cannot be read"),
    "no file": ("", b"", "gone.jsonl: no such file"),
}


@pytest.mark.parametrize(("name", "content", "complaint"), WRONG.values(), ids=WRONG)
def test_a_damaged_file_is_refused_with_its_place(tmp_path: Path, name: str, content: bytes, complaint: str) -> None:
    path = tmp_path / (name or "gone.jsonl")
    if name:
        path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(complaint)):
        list(read_table(path))


@pytest.mark.parametrize(
    "content",
    [
        b'{"a": 1}\n{"a" 1}\n',
        b'{"a": 1}\n[1]\n',
        b'{\n"a": 1}\n',
        b"instruction,output\nGo.,Gone.\n",
        b'{"a": 1}\n{"a": "caf\xe9"}\n',
        b'[{"a": 1},\n{"a" 1}]',
        b"PK\x03\x04",
        '{"a": 1}\n'.encode("utf-16"),
    ],
)
def test_what_is_wrong_in_a_packed_file_is_named_as_in_the_file_itself(tmp_path: Path, content: bytes) -> None:
    said = []
    for name, written_as in (("a.jsonl", content), ("a.jsonl.gz", gzip.compress(content))):
        path = tmp_path / name
        path.write_bytes(written_as)
        with pytest.raises(DataError) as error:
            list(read_table(path))
        said.append(str(error.value).replace(str(path), "FILE"))
    assert said[1] == said[0]


def test_a_cell_of_messages_is_json(tmp_path: Path) -> None:
    from pacos.conversations import read_conversation

    turns: list[dict[str, Any]] = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}]
    quoted = json.dumps(turns).replace('"', '""')
    (tmp_path / "a.csv").write_text(f'messages\n"{quoted}"\n', encoding="utf-8")
    [(where, row)] = read_table(tmp_path / "a.csv")
    assert [message.content for message in read_conversation(row, where=where).messages] == ["Hi.", "Ho."]
