"""Local folders that `datasets` reads; nothing here asks the network."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import ConfigError, DataError, OtherForm
from pacos.hub import load_rows
from pacos.records import Task
from pacos.train.data.sources import read_training_rows
from tests.support.small_training import training_config

HEADER = "instruction,input,output\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def folder_of(parent: Path, **files: str | bytes) -> Path:
    folder = parent / "data"
    folder.mkdir()
    for name, content in files.items():
        kept = content if isinstance(content, bytes) else content.encode("utf-8")
        (folder / name.replace("_", ".")).write_bytes(kept)
    return folder


def tasks_of(folder: Path, **source: Any) -> list[Task]:
    config = training_config(folder.parent, Path("base"), folder.parent, data=[{"hub": str(folder)} | source])
    return [task for _, task in read_training_rows(config)]


def test_cells_of_csv_stay_texts(tmp_path: Path) -> None:
    rows = "Code of Namibia?,NA,NA\nLegs?,null,8\nTrue?,,True\nAgent?,1.50,007\n"
    assert tasks_of(folder_of(tmp_path, train_csv=HEADER + rows)) == [
        Task("Code of Namibia?", "NA", "NA"),
        Task("Legs?", "null", "8"),
        Task("True?", "", "True"),
        Task("Agent?", "1.50", "007"),
    ]


def test_files_of_a_second_kind_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    row = json.dumps({"instruction": "Name a sea.", "input": "", "output": "The Baltic."}) + "\n"
    folder = folder_of(tmp_path, a_jsonl=row, b_csv=HEADER + "Go.,,Gone.\n", readme_txt="hello")
    with caplog.at_level(logging.WARNING, "pacos"):
        assert len(load_rows(str(folder), where="here")) == 1
    assert "b.csv" in caplog.text and "readme" not in caplog.text


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"train_jsonl": '{"instruction": "Go.", "input": "a", "input": "b", "output": "x"}\n'}, "specified twice"),
        ({"train_jsonl": '{"instruction": "Mood \\ud83d?", "input": "", "output": "x"}\n'}, "surrogate"),
        ({"a_jsonl": '{"instruction": "Go."}\n', "b_jsonl": '{"instruction": "Go.", "kind": "qa"}\n'}, "kind"),
        ({"train_csv": (HEADER + "Café?,,x\n").encode("utf-16")}, r"train\.csv: is in UTF-16"),
        ({"train_csv": (HEADER + "Café?,,x\n").encode("latin-1")}, "codec can't decode byte 0xe9"),
    ],
)
def test_the_cause_is_shown_and_nobody_is_sent_to_the_hub(
    tmp_path: Path, files: dict[str, str | bytes], complaint: str
) -> None:
    with pytest.raises(DataError, match=complaint) as error:
        load_rows(str(folder_of(tmp_path, **files)), where="here")
    assert "hf auth login" not in str(error.value)


def test_no_name_is_no_dataset() -> None:
    with pytest.raises(ConfigError, match="names no dataset"):
        load_rows(" ", where="ranked answers")


TURNS = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}]


def test_a_dataset_of_single_questions_is_read_as_tasks(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, train_jsonl=json.dumps({"messages": TURNS}) + "\n")
    assert tasks_of(folder) == [Task("Hi.", "", "Ho.")]


def test_a_dataset_of_longer_chats_needs_the_chat_template(tmp_path: Path) -> None:
    with pytest.raises(OtherForm, match=r"row 1: has 4 turns.*\n.*train\.template=chat"):
        tasks_of(folder_of(tmp_path, train_jsonl=json.dumps({"messages": TURNS * 2}) + "\n"))


def test_a_column_of_system_texts_is_refused(tmp_path: Path) -> None:
    rows = [{"instruction": "Go.", "input": "", "output": "Gone.", "system": text} for text in (None, "Be brief.")]
    with pytest.raises(OtherForm, match="row 2: has a system text"):
        tasks_of(folder_of(tmp_path, train_jsonl="".join(json.dumps(row) + "\n" for row in rows)))


def test_a_pair_with_a_system_text_is_refused(tmp_path: Path) -> None:
    row = {"instruction": "Go.", "chosen": "Gone.", "rejected": "No.", "system": "Be brief."}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    config = training_config(tmp_path, Path("base"), tmp_path, objective="dpo", data=[{"path": str(path)}])
    with pytest.raises(OtherForm, match=r"pairs\.jsonl:1: `system`"):
        read_training_rows(config)


def test_a_column_of_messages_is_read_for_a_chat(tmp_path: Path) -> None:
    from datasets import Dataset

    folder = tmp_path / "data"
    folder.mkdir()
    Dataset.from_dict({"messages": [TURNS * 2], "id": ["x"]}).to_parquet(folder / "train.parquet")
    config = training_config(tmp_path, Path("base"), tmp_path, template="chat", data=[{"hub": str(folder)}])
    [(name, conversation)] = read_training_rows(config)
    assert name.endswith("data:1")
    assert [message.content for message in conversation.messages] == ["Hi.", "Ho."] * 2
