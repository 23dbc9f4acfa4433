import dataclasses
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.errors import DataError, OtherForm, RunError
from pacos.files import JsonlWriter, read_jsonl, write_jsonl, write_text
from pacos.records import CONVERSIONS, Prediction, Response, Task, parse_task, read_records, read_tasks

ANSWERS = st.builds(Response, request=st.integers(0), text=st.text(), finish_reason=st.sampled_from(["stop", "length"]))


@settings(deadline=None)
@given(answers=st.lists(ANSWERS, max_size=5))
def test_records_come_back_as_written(tmp_path_factory: pytest.TempPathFactory, answers: list[Response]) -> None:
    path = tmp_path_factory.mktemp("records") / "responses.jsonl"
    with JsonlWriter(path) as writer:
        for answer in answers:
            writer.write(answer)
    assert read_records(path, Response) == answers


def test_a_writer_drops_an_unfinished_last_line_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    whole = json.dumps(dataclasses.asdict(Response(0, "zero", "stop"))) + "\n"
    path.write_text(whole + whole[:17], encoding="utf-8")
    with JsonlWriter(path) as writer:
        writer.write(Response(1, "one", "stop"))
    assert [answer.request for answer in read_records(path, Response)] == [0, 1]


def test_a_file_of_one_unfinished_line_is_emptied(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_bytes(b'{"request"' * 20_000)
    JsonlWriter(path).close()
    assert path.read_bytes() == b""


def test_a_torn_tail_is_left_out_on_reading(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"a": 1}\n{"a": 2', encoding="utf-8")
    assert list(read_jsonl(path, torn_tail=True)) == [(1, {"a": 1})]
    with pytest.raises(DataError, match=r"x\.jsonl:2"):
        list(read_jsonl(path))


def test_a_full_disk_leaves_whole_lines_and_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "responses.jsonl"
    program = f"""
import resource, signal
from pathlib import Path
from pacos.files import JsonlWriter
from pacos.records import Response
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
with JsonlWriter(Path({str(path)!r})) as writer:
    for request in range(1000):
        writer.write(Response(request, "x" * 100, "stop"))
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "RunError" in ended.stderr and "responses.jsonl: cannot write" in ended.stderr
    content = path.read_bytes()
    assert content.endswith(b"\n") and 9_000 < len(content) <= 10_000
    answers = read_records(path, Response)
    assert [answer.request for answer in answers] == list(range(len(answers)))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_no_space_left_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "responses.jsonl").symlink_to("/dev/full")
    writer = object.__new__(JsonlWriter)
    writer.path, writer._end = tmp_path / "responses.jsonl", 0
    writer._file = (tmp_path / "pretender").open("wb", buffering=0)
    os.dup2(os.open("/dev/full", os.O_WRONLY), writer._file.fileno())
    monkeypatch.setattr(writer._file, "truncate", lambda size: size)
    with pytest.raises(RunError, match=r"the disk is full; everything written before is whole[\s\S]*make space"):
        writer.write(Response(0, "zero", "stop"))


def test_an_interrupted_rewrite_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_text(path, "old")
    old_limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, old_limit[1]))
    try:
        with pytest.raises(RunError, match="cannot write"):
            write_text(path, "new" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limit)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert path.read_text(encoding="utf-8") == "old"
    assert os.listdir(tmp_path) == ["manifest.json"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "not JSON"),
        ("[1]", "each line must be a JSON object"),
        ('{"request": 1, "text": ""}', "finish_reason"),
        ('{"request": 1, "text": "", "finish_reason": "stop", "txet": ""}', "unknown key 'txet'"),
    ],
)
def test_a_bad_line_is_named_with_its_number(tmp_path: Path, line: str, complaint: str) -> None:
    path = tmp_path / "responses.jsonl"
    path.write_text('{"request": 0, "text": "", "finish_reason": "stop"}\n' + line + "\n", encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_records(path, Response)
    assert f"{path}:2" in str(error.value) and complaint in str(error.value)


PREDICTION = {
    "model": "m", "suite": "s", "task": "t", "instance": "i", "category": "c", "prompt_sha256": "", "prediction": "x",
    "raw": "x", "references": ["x"], "rougeL": 0, "exact_match": 0.0, "finish_reason": "stop",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"references": "x"}, "`references` must be a list of texts, not 'x'"),
        ({"references": [8]}, "`references` must be a list of texts"),
        ({"references": [None]}, "`references` must be a list of texts"),
        ({"prediction": 8}, "`prediction` must be text, not 8"),
        ({"category": None}, "`category` must be text, not None"),
        ({"task": 1}, "`task` must be text"),
        ({"rougeL": "1.0"}, "`rougeL` must be a number"),
        ({"rougeL": True}, "`rougeL` must be a number"),
        ({"rougeL": float("nan")}, "`rougeL` must be a number"),
        ({"exact_match": float("inf")}, "`exact_match` must be a number"),
        ({"exact_match": 10**400}, "`exact_match` must be a number"),
    ],
)
def test_a_record_is_checked_for_types(tmp_path: Path, change: dict[str, object], complaint: str) -> None:
    write_jsonl(tmp_path / "predictions.jsonl", [PREDICTION, PREDICTION | change])
    with pytest.raises(DataError) as error:
        read_records(tmp_path / "predictions.jsonl", Prediction)
    assert f"predictions.jsonl:2: {complaint}" in str(error.value)


@pytest.mark.parametrize("change", [{"request": 1.0}, {"request": True}, {"prompt_tokens": None}, {"sampled": "a"}])
def test_a_journal_is_checked_for_types(tmp_path: Path, change: dict[str, object]) -> None:
    write_jsonl(tmp_path / "responses.jsonl", [{"request": 0, "text": "", "finish_reason": "stop"} | change])
    with pytest.raises(DataError, match=rf"responses\.jsonl:1: `{next(iter(change))}` must be"):
        read_records(tmp_path / "responses.jsonl", Response)


def test_half_a_character_in_a_journal_is_replaced_so_that_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"request": 0, "text": "a\\ud83d", "finish_reason": "stop"}\n', encoding="utf-8")
    assert read_records(tmp_path / "r.jsonl", Response)[0].text == "a\ufffd"


def test_an_input_that_is_null_is_empty(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "a.jsonl", [{"instruction": "Say hi.", "input": None, "output": "Hi."}])
    assert read_tasks(tmp_path / "a.jsonl") == [Task("Say hi.", "", "Hi.")]


ROW = {"instruction": "Which is longer?", "input": "", "output": "The Danube."}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ROW | {"history": [["Name two rivers.", "The Danube and the Rhine."]]}, "`history` has earlier turns"),
        (ROW | {"system": "Answer in French."}, "`system` has a system text"),
        ({"messages": [{"role": "user", "content": "Hi."}]}, "has `messages`, not `instruction`"),
        ({"conversations": [{"from": "human", "value": "Hi."}]}, "has `conversations`, not `instruction`"),
        ({"prompt": "Hi.", "response": "Ho."}, "has `response`, not `instruction`"),
        ({"question": "Hi?", "answer": "Ho."}, "has `answer`, not `instruction`"),
    ],
)
def test_a_conversation_is_refused_with_the_way_to_convert_it(row: dict[str, object], complaint: str) -> None:
    with pytest.raises(OtherForm) as error:
        parse_task(row, where="a.jsonl:1")
    assert f"a.jsonl:1: {complaint}" in str(error.value) and "jq" in str(error.value)


@pytest.mark.parametrize("empty", [{"history": [], "system": ""}, {"history": None, "system": None}, {"system": " "}])
def test_columns_of_a_conversation_that_are_empty_lose_nothing(empty: dict[str, object]) -> None:
    assert parse_task(ROW | empty, where="here").output == "The Danube."


@pytest.mark.skipif(not shutil.which("jq"), reason="needs jq")
@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}]},
        {"conversations": [{"from": "human", "value": "Hi."}, {"from": "gpt", "value": "Ho."}]},
        {"prompt": "Hi.", "response": "Ho."},
        {"prompt": "Hi.", "completion": "Ho."},
        {"question": "Hi.", "answer": "Ho."},
    ],
)
def test_the_way_to_convert_a_row_makes_a_task(row: dict[str, object]) -> None:
    program = next(program for key, program in CONVERSIONS.items() if key in row)
    made = subprocess.run(["jq", "-c", program], input=json.dumps(row), capture_output=True, text=True, check=True)
    assert parse_task(json.loads(made.stdout), where="here") == Task("Hi.", "", "Ho.")


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("a.jsonl", '{"instruction": "x"}\n', "a.jsonl:1: `output` is missing"),
        ("a.jsonl", '{"instruction": " ", "output": "y"}\n', "a.jsonl:1: `instruction` is empty"),
        ("a.json", '[{"instruction": "x", "output": 3}]', "a.json:row 1: `output` must be text"),
        ("a.json", "{}", "a.json:1: `instruction` is missing"),
        ("a.json", "[]", "a.json: holds no tasks"),
        ("a.jsonl", "", "a.jsonl: holds no tasks"),
    ],
)
def test_a_file_that_holds_no_proper_tasks_is_refused(tmp_path: Path, name: str, content: str, complaint: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        read_tasks(tmp_path / name)
    assert complaint in str(error.value)


def test_tasks_are_read_alike_from_json_jsonl_and_a_dataset_folder(tmp_path: Path) -> None:
    rows = [
        {"instruction": "Say hi.", "output": "Hi."},
        {"instruction": "Add.", "input": "1 1", "output": "2", "id": "7"},
    ]
    (tmp_path / "a.json").write_text(json.dumps(rows), encoding="utf-8")
    write_jsonl(tmp_path / "dataset.jsonl", rows)
    tasks = read_tasks(tmp_path / "a.json")
    assert tasks == read_tasks(tmp_path / "dataset.jsonl") == read_tasks(tmp_path)
    assert [task.input for task in tasks] == ["", "1 1"]
