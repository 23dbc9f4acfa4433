"""Training data in every form: files of rows, tables, conversations, pairs."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.fuzz.files import Form, Format
from pacos.config import Config, DataSource, ModelConfig, TrainConfig
from pacos.train.data.sources import read_training_rows

TASKS = [
    {"instruction": f"Describe the {word} lake in the north.", "input": "", "output": f"It is {word}."}
    for word in ("blue", "green", "wide")
]
PAIRS = [{"instruction": f"Name lake {n}.", "input": "", "chosen": "Geneva", "rejected": "Oslo"} for n in range(3)]
TURNS = (("user", "Name a lake."), ("assistant", "Baikal."))
CHATS = [{"messages": [{"role": role, "content": text} for role, text in TURNS * n]} for n in (1, 2)]
SHARED = [{"conversations": [{"from": "human", "value": "Name a lake."}, {"from": "gpt", "value": "Baikal."}]}] * 2
TURNED = [task | {"system": "Be brief.", "history": [["Name one.", "Baikal."]]} for task in TASKS]
PREFERRED = [
    {"prompt": [{"role": "user", "content": "Name a lake."}]}
    | {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
] * 2


def training_formats(parent: Path) -> Iterator[Format]:
    folder = parent / "training"
    folder.mkdir()
    yield _rows(folder / "tasks-sft.jsonl", TASKS, "tasks")
    yield _rows(folder / "pairs.jsonl", PAIRS, "pairs", objective="dpo")
    yield _rows(folder / "messages.jsonl", CHATS, "messages", template="chat")
    yield _rows(folder / "sharegpt.jsonl", SHARED, "ShareGPT", template="chat")
    yield _rows(folder / "history.jsonl", TURNED, "system and history", template="chat")
    yield _rows(folder / "preferred.jsonl", PREFERRED, "pairs of messages", objective="dpo", template="chat")
    lines = "".join(json.dumps(row) + "\n" for row in TASKS).encode()
    yield _table(folder / "tasks.jsonl.gz", gzip.compress(lines, mtime=0), "bytes")
    cells = [["instruction", "input", "output"], *(list(task.values()) for task in TASKS)]
    yield _table(folder / "tasks.csv", "".join(",".join(row) + "\n" for row in cells).encode(), "text")
    yield _table(folder / "tasks.tsv", "".join("\t".join(row) + "\n" for row in cells).encode(), "text")
    yield _table(folder / "tasks.parquet", _parquet(folder), "bytes")


def _parquet(folder: Path) -> bytes:
    from datasets import Dataset

    path = folder / "written.parquet"
    Dataset.from_list(TASKS).to_parquet(str(path))
    return path.read_bytes()


def _rows(path: Path, rows: list[dict[str, Any]], name: str, **train: str) -> Format:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return _format(path, name, "rows", **train)


def _table(path: Path, content: bytes, form: Form) -> Format:
    path.write_bytes(content)
    return _format(path, "".join(path.suffixes), form)


def _format(path: Path, name: str, form: Form, **train: str) -> Format:
    source = DataSource(path=str(path)).model_dump()
    config = Config(
        name="fuzz", model=ModelConfig(base="none"), train=TrainConfig.model_validate({**train, "data": [source]})
    )
    return Format(f"training rows: {name}", path, form, lambda: read_training_rows(config))
