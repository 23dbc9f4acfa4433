"""Files that anyone may have written, and names that anyone may have chosen."""

import gzip
import json
import os
from pathlib import Path

import pytest

from pacos import json_text
from pacos.errors import DataError, RunError
from pacos.files import JsonlWriter, line_count, make_folder, read_jsonl, read_object, read_rows, safe_name, write_text
from pacos.json_text import parse_json

ROWS = [{"a": 1}, {"a": "é"}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
LIST = json.dumps(ROWS, indent=1, ensure_ascii=False)


def complaint_of(path: Path) -> str:
    with pytest.raises(DataError) as error:
        list(read_rows(path))
    return str(error.value)


def written(folder: Path, content: str | bytes, name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


@pytest.mark.parametrize("name", ["rows.json", "rows.jsonl", "rows"])
@pytest.mark.parametrize("content", [LINES, LIST, json.dumps(ROWS), LINES.rstrip("\n"), "\n \n" + LIST])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_rows_are_read_by_what_a_file_begins_with(tmp_path: Path, name: str, content: str, mark: str) -> None:
    assert [values for _, values in read_rows(written(tmp_path, mark + content, name))] == ROWS


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (gzip.compress(LINES.encode()), "is compressed by gzip"),
        (LINES.encode("utf-16"), "is in UTF-16"),
        (b"PAR1\x15\x04", "is a Parquet file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
        (b"instruction,output\nGo.,Gone.\n", "rows.jsonl:1: not JSON"),
        (b'{"a": 1}\n{"a": "caf\xe9"}\n', "rows.jsonl:2: is not UTF-8: byte 0xe9"),
    ],
)
def test_another_form_is_named_with_the_way_out(tmp_path: Path, content: bytes, complaint: str) -> None:
    said = complaint_of(written(tmp_path, content))
    assert complaint in said and "→" in said


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "the key 'a' stands twice"),
        ('{"x": {"a": 1, "a": 1}}', "the key 'a' stands twice"),
        ('{"a": "so happy \\ud83d"}', "half a character, U+D83D, after 'so happy '"),
        ('{"a": ["\\udc00"]}', "half a character, U+DC00"),
        ('{"\\ud800": 1}', "half a character, U+D800"),
        ('{"a": ' + "[" * 200 + "]" * 200 + "}", "nested too deeply"),
        ('{"a": ' + "[" * 200_000 + "]" * 200_000 + "}", "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "a number has thousands of digits"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named(tmp_path: Path, row: str, complaint: str) -> None:
    said = complaint_of(written(tmp_path, f'{{"a": 0}}\n{row}\n'))
    assert "rows.jsonl:2: " in said and complaint in said
    said = complaint_of(written(tmp_path, f'[{{"a": 0}}, {row}]', "rows.json"))
    assert "rows.json:row 2: " in said and complaint in said


def test_a_whole_character_written_as_two_escapes_is_read() -> None:
    assert parse_json('"\\ud83d\\ude00"', "here") == "\U0001f600"


@pytest.mark.parametrize("content", ['[{"a": 1}', '[{"a": 1} {"a": 2}]', '[{"a": 1}] x', '[{"a": 1},]', "["])
def test_a_broken_list_is_refused(tmp_path: Path, content: str) -> None:
    assert "rows.json" in complaint_of(written(tmp_path, content, "rows.json"))


@pytest.mark.parametrize("size", [1, 2, 7])
def test_a_list_that_is_read_in_small_pieces_has_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(json_text, "_PIECE", size)
    path = written(tmp_path, '\ufeff [ -12.5e-3 ,12,\n {"日本": ["a\\u00e9", null]},"x",\n1e3] ')
    assert [value for _, value in read_rows(path)] == [-0.0125, 12, {"日本": ["aé", None]}, "x", 1000.0]
    assert complaint_of(written(tmp_path, "[1,\n 2, 34 5]")) == (
        f"{path}:2: not JSON: a comma or the end of the list is missing"
    )
    assert f"{path}:row 3:2: not JSON: Expecting value at character 5" in complaint_of(written(tmp_path, "[1,\n 2, x]"))


def test_rows_of_a_list_come_before_the_rest_of_the_file_is_read(tmp_path: Path) -> None:
    rows = read_rows(written(tmp_path, b'["one", "two", "' + b" " * (4 << 20) + b'\xff"]'))
    assert [next(rows)[1], next(rows)[1]] == ["one", "two"]
    with pytest.raises(DataError, match="byte 0xff in line 1"):
        next(rows)


def test_an_empty_list_has_no_rows(tmp_path: Path) -> None:
    assert list(read_rows(written(tmp_path, " [ ] \n"))) == []


def test_what_cannot_be_opened_is_told_without_a_traceback(tmp_path: Path) -> None:
    assert "no such file" in complaint_of(tmp_path / "none.jsonl")
    assert "is a folder" in complaint_of(tmp_path)
    assert "cannot be read" in complaint_of(tmp_path / ("x" * 300))
    assert "cannot be read" in complaint_of(tmp_path / "a\0b")
    with pytest.raises(DataError, match=r"is a folder[\s\S]*run it again"):
        read_object(tmp_path, todo="run it again")


def test_a_last_line_without_newline_is_a_record(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n{"a": 2}')
    assert [values["a"] for _, values in read_jsonl(path)] == [1, 2]
    assert [values["a"] for _, values in read_jsonl(path, torn_tail=True)] == [1, 2]
    assert line_count(path) == 2


def test_a_writer_keeps_a_last_line_that_lacks_only_its_newline(tmp_path: Path) -> None:
    path = written(tmp_path, '{"a": 1}\n{"a": 2}')
    with JsonlWriter(path) as writer:
        writer.write({"a": 3})
    assert path.read_text(encoding="utf-8") == '{"a": 1}\n{"a": 2}\n{"a": 3}\n'


def test_half_a_character_is_never_written(tmp_path: Path) -> None:
    with JsonlWriter(tmp_path / "a.jsonl") as writer:
        writer.write({"a": "so happy \ud83d"})
    assert [values for _, values in read_jsonl(tmp_path / "a.jsonl")] == [{"a": "so happy \ufffd"}]


def test_no_write_follows_a_link(tmp_path: Path) -> None:
    victim, run = written(tmp_path, "mine", "victim"), tmp_path / "run"
    run.mkdir()
    for name in ("report.html", ".report.html.new", "journal.jsonl"):
        (run / name).symlink_to(victim)
    write_text(run / "report.html", "page")
    with pytest.raises(RunError, match="it is a link"):
        JsonlWriter(run / "journal.jsonl")
    assert victim.read_text(encoding="utf-8") == "mine"
    assert (run / "report.html").read_text(encoding="utf-8") == "page" and not (run / "report.html").is_symlink()


def test_a_written_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_text(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_place_that_cannot_be_written_is_a_clear_error(tmp_path: Path, name: str) -> None:
    written(tmp_path, "here", "file")
    for write in (
        lambda path: write_text(path / "a.json", ""),
        lambda path: JsonlWriter(path / "a.jsonl"),
        make_folder,
    ):
        with pytest.raises(RunError, match="cannot write"):
            write(tmp_path / name)


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 255), "text")
    assert os.listdir(tmp_path) == ["x" * 255]


@pytest.mark.parametrize("name", ["task1_a", "user_oriented_task_0", "my answers (v2)", "Übung-3", "a.b"])
def test_a_name_that_is_safe_stays(name: str) -> None:
    assert safe_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["../../x", "/etc/x", "..", ".", "", "a/b", "a\\b", "a\0b", "a\nb", ".hidden", "_group", "é" * 100, "x" * 400],
)
def test_any_other_name_becomes_one_that_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    safe = safe_name(name)
    path = tmp_path / f"{safe}.jsonl"
    path.touch()
    assert path.resolve().parent == tmp_path.resolve() and not safe.startswith((".", "_")) and len(safe) <= 120


def test_different_texts_have_different_safe_names() -> None:
    texts = ["../x", "..//x", "x/", "/x", "x\0", "x" * 400, "x" * 401]
    assert len({safe_name(text) for text in texts}) == len(texts)
