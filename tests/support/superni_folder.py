"""A small folder in SuperNI's official layout, for tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def write_superni(folder: Path, tasks: Mapping[str, Mapping[str, Any]], *, listed: list[str] | None = None) -> Path:
    """`tasks` are {name: keys that differ from a valid task}; `listed` is the split, by default all tasks."""
    for name, keys in tasks.items():
        path = folder / "tasks" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(task(name, **keys)), encoding="utf-8")
    split = folder / "splits" / "default" / "test_tasks.txt"
    split.parent.mkdir(parents=True, exist_ok=True)
    split.write_text("".join(f"{name}\n" for name in listed or tasks), encoding="utf-8")
    return folder


def task(name: str, **keys: Any) -> dict[str, Any]:
    return {
        "Definition": ["Name the colour in the text"],
        "Categories": ["Keyword Tagging"],
        "Instances": instances(name, 3),
    } | keys


def instances(name: str, count: int) -> list[dict[str, Any]]:
    colours = ["red", "green", "blue"]
    return [
        {"id": f"{name}-{i}", "input": f"Ball {i} is {colours[i % 3]}.", "output": [colours[i % 3]]}
        for i in range(count)
    ]
