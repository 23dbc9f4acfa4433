"""Small runs of `benchmarks.fuzz`, and the faults that it must find."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.fuzz.config import fuzz_config
from benchmarks.fuzz.files import Case, Format, FormatFuzzer, fuzz_files
from benchmarks.fuzz.mutations import damaged_rows, mutated
from benchmarks.fuzz.outcomes import Failure, attempt, unwritable
from benchmarks.fuzz.replies import fuzz_replies
from pacos.errors import DataError
from pacos.files import read_jsonl

CASES = 200


@pytest.mark.parametrize("family", [fuzz_files, fuzz_config, fuzz_replies])
def test_no_case_fails(
    family: Callable[[int, int], tuple[dict[str, int], list[Failure]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    counts, failures = family(CASES, 0)
    assert not failures, "\n".join(f"{one.subject} ({one.how}): {one.what}" for one in failures)
    assert counts["read"] > CASES / 20, "nearly nothing is read: the examples are broken"
    assert counts["refused"] > CASES / 20, "nearly nothing is refused: the changes are harmless"


def test_a_seed_gives_the_same_cases() -> None:
    rows = [{"a": 1, "b": ["x"]}, {"a": 2, "b": []}]
    assert [damaged_rows(rows, Random("s")) for _ in range(2)] == [damaged_rows(rows, Random("s"))] * 2
    assert mutated(rows, Random("s"))[1] == mutated(rows, Random("s"))[1]


def rows_format(path: Path, read: Callable[[], Any]) -> FormatFuzzer:
    path.write_text('{"a": "1"}\n{"a": "2"}\n', encoding="utf-8")
    return FormatFuzzer(Format("planted", path, "rows", read))


def test_an_exception_of_python_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fuzzer = rows_format(path, lambda: [values["a"].strip() for _, values in read_jsonl(path)])
    _, wrong = fuzzer.run(Case(b'{"a": 1}\n', "retype"))
    assert wrong.startswith("AttributeError")
    assert fuzzer.run(Case(b'{"a": "1"}\n', "remove"))[1] == ""


def test_a_lost_row_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    fuzzer = rows_format(path, lambda: path.read_text(encoding="utf-8").split("\n")[:-1])
    _, wrong = fuzzer.run(Case(fuzzer.valid.rstrip(b"\n"), "no newline at the end", harmless=True))
    assert wrong.startswith("reads something else")


def test_an_error_without_file_or_line_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"

    def read(where: str) -> list[Any]:
        rows = [values for _, values in read_jsonl(path)]
        if rows[0] != {"a": "1"}:
            raise DataError("odd", where=where)
        return rows

    changed = Case(b'{"a": "3"}\n', "replace", in_rows=True)
    assert "name the file" in rows_format(path, lambda: read("somewhere")).run(changed)[1]
    assert "name the line" in rows_format(path, lambda: read(str(path))).run(changed)[1]
    assert rows_format(path, lambda: read(f"{path}:1")).run(changed)[1] == ""


def test_a_reader_that_does_not_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.fuzz.outcomes.LONGEST_CASE_S", 0.05)

    def endless() -> None:
        while True:
            pass

    assert attempt(endless).detail.startswith("took more than")


def test_a_reader_that_takes_all_memory_is_stopped() -> None:
    assert attempt(lambda: len(bytearray(8 << 30))).detail.startswith("MemoryError")


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"a": "\ud800"}])
def test_a_value_that_cannot_be_written_is_a_failure(value: Any) -> None:
    assert unwritable(value)
    assert not unwritable([1.5, "é", None, {"a": []}])


def test_a_failure_leaves_the_case_behind(tmp_path: Path) -> None:
    case = Failure("files", "seeds", "cut off", "TypeError", b"\xff{", "0:files:seeds:1").write(tmp_path)
    assert case.read_bytes() == b"\xff{"
    assert "seeds\nseed: 0:files:seeds:1" in case.with_suffix(".txt").read_text(encoding="utf-8")
