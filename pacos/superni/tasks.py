"""Super-NaturalInstructions (Wang et al. 2204.07705) as its official folder lays it out.

    suite = read_test_split(Path("natural-instructions"))
    suite.coverage                                    # "11,810 of 11,810 instances, 119 of 119 tasks present"

A folder holds `tasks/<task>.json` and `splits/<track>/test_tasks.txt`. Tasks of the split whose files are missing are
counted and reported: scores on part of a track compare with no published number.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.json_text import parse_json, read_text

# A task's file is named by it.
LONGEST_NAME = 200

# "The first 100 instances of each task" (splits/README.md).
INSTANCES_PER_TASK = 100

# Instances of the official test splits, known by the hash of their sorted task names. The default track has
# 90 fewer than 119 × 100: some of its tasks are shorter.
OFFICIAL_TOTALS = {
    "5f65a29afa7b0c4bbb3b6c4c2b885e03d3c72adb182e67d06f9d91cb87d1d1c0": 11_810,
    "7a96be098235f27eebc21606e4e83bcfb63827077de861f0279ef1e99953fa7d": 3_500,
}


@dataclass(frozen=True, slots=True)
class Demonstration:
    """An example from a task's header; `explanation`, where there is one, says why it is right or wrong."""

    input: str
    output: str
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """One question of a task, with the task's definition and demonstrations, and its reference answers."""

    task: str
    id: str
    category: str
    definition: str
    input: str
    references: tuple[str, ...]
    positive: tuple[Demonstration, ...] = ()
    negative: tuple[Demonstration, ...] = ()


@dataclass(frozen=True, slots=True)
class Suite:
    """The test instances found, and how much of their track they are.

    `n_expected` is the published total for an official split. For another split it is the instances of the tasks
    found, plus 100 for each absent task: the most that the track can have.
    """

    track: str
    instances: list[Instance]
    files: list[Path]
    absent: list[str]
    n_expected: int

    @property
    def n_listed(self) -> int:
        """Number of tasks that the split lists."""
        return len(self.files) + len(self.absent)

    @property
    def coverage(self) -> str:
        """How many of the expected instances and tasks were found, in words."""
        tasks = f"{len(self.files)} of {self.n_listed} tasks present"
        return f"{len(self.instances):,} of {self.n_expected:,} instances, {tasks}"

    @property
    def sha256(self) -> str:
        """Hash of every text that a score depends on."""
        digest = hashlib.sha256()
        for instance in self.instances:
            fields = [instance.task, instance.id, instance.definition, instance.input, *instance.references]
            shown = [(one.input, one.output, one.explanation) for one in instance.positive + instance.negative]
            digest.update(json.dumps([fields, shown]).encode())
        return digest.hexdigest()


def read_test_split(path: Path, limit: int | None = None) -> Suite:
    """Read the test split of a track: the first 100 instances of each task, or the first `limit`.

    `path` is a SuperNI folder, its folder of tasks, or the split file of another track
    (`…/splits/xlingual/test_tasks.txt`); a folder means the default track where it has one.
    Raises DataError: no split, none of its tasks present, a file that is not JSON or not a task, an instance
    without output, two instances with the same id.
    """
    tasks, split = _locate(path, "test_tasks.txt")
    names = _read_split(split)
    present = _present(tasks, split, names)
    per_task = min(limit or INSTANCES_PER_TASK, INSTANCES_PER_TASK)
    instances, available = [], 0
    for name in present:
        of_task = read_task(tasks / f"{name}.json")
        available += len(of_task)
        instances += of_task[:per_task]
    absent = sorted(set(names) - set(present))
    return Suite(
        track=split.parent.name,
        instances=instances,
        files=[tasks / f"{name}.json" for name in present],
        absent=absent,
        n_expected=official_total(names) or available + INSTANCES_PER_TASK * len(absent),
    )


def read_training_split(path: Path, per_task: int | None = None) -> tuple[list[Instance], int, int]:
    """(instances, tasks present, tasks listed) of the training split: the first 100 of each task, or `per_task`.

    `path` and errors are as for `read_test_split`, the split is `train_tasks.txt`.
    """
    tasks, split = _locate(path, "train_tasks.txt")
    names = _read_split(split)
    present = _present(tasks, split, names)
    return [row for name in present for row in read_task(tasks / f"{name}.json")[:per_task]], len(present), len(names)


def training_files(path: Path) -> list[Path]:
    """The files that `read_training_split` reads: the split, and each of its tasks that is present."""
    tasks, split = _locate(path, "train_tasks.txt")
    return [split, *(tasks / f"{name}.json" for name in _present(tasks, split, _read_split(split)))]


def read_task(path: Path) -> list[Instance]:
    """The first 100 instances of a task file, with its first definition, its first category and its examples.

    Raises DataError as `read_test_split` does.
    """
    task = _read_json(path)
    # The form of Tk-Instruct's compute_metrics.py: Textual Entailment → textual_entailment.
    category = "_".join(_first(task, "Categories", path).lower().split())
    rows = task.get("Instances")
    if not isinstance(rows, list) or not rows:
        raise DataError("`Instances` must be a list that is not empty", where=str(path))
    header = {
        "task": path.stem,
        "category": category,
        "definition": _first(task, "Definition", path),
        "positive": _examples(task, "Positive Examples", path),
        "negative": _examples(task, "Negative Examples", path),
    }
    instances = [_instance(row, index, path, header) for index, row in enumerate(rows[:INSTANCES_PER_TASK])]
    seen: set[str] = set()
    for index, instance in enumerate(instances):
        if instance.id in seen:
            raise DataError(f"two instances have the id {instance.id!r}", where=f"{path}: Instances[{index}]")
        seen.add(instance.id)
    return instances


def _present(tasks: Path, split: Path, names: list[str]) -> list[str]:
    present = [name for name in names if (tasks / f"{name}.json").is_file()]
    if not present:
        raise DataError(
            f"none of the {len(names)} tasks that {split} lists is here",
            where=str(tasks),
            todo="point `path` to a folder that holds tasks/<task>.json, e.g. natural-instructions",
        )
    return present


def _locate(path: Path, split_name: str) -> tuple[Path, Path]:
    """(folder of task files, split file)."""
    if path.name == split_name and path.is_file():
        root, splits = path.absolute().parents[2], [path]
    else:
        # A folder of tasks has its splits next to it.
        homes = [path] if (path / "tasks").is_dir() else [path, path.parent]
        root = path
        splits = [home / "splits" / track / split_name for home in homes for track in ("default", "xlingual")]
    if not root.is_dir():
        raise DataError("no such folder", where=str(path), todo="point `path` to a SuperNI folder")
    found = [split for split in splits if split.is_file()]
    if not found:
        raise DataError(
            f"holds no {split_name.partition('_')[0]} split: no splits/default/{split_name}",
            where=str(path),
            todo="point `path` to the folder that holds tasks/ and splits/, e.g. natural-instructions",
        )
    return (root / "tasks" if (root / "tasks").is_dir() else root), found[0]


def _read_split(split: Path) -> list[str]:
    names = read_text(split).split()
    if not names:
        raise DataError("lists no tasks", where=str(split))
    if wrong := [name for name in names if "/" in name or "\0" in name or len(name) > LONGEST_NAME]:
        raise DataError(f"{wrong[0][:80]!r} is not the name of a task", where=str(split))
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"duplicate task {twice}", where=str(split))
    return names


def official_total(names: Iterable[str]) -> int:
    """The instances of the official test split that lists exactly these tasks; 0 for any other."""
    digest = hashlib.sha256("".join(f"{name}\n" for name in sorted(names)).encode()).hexdigest()
    return OFFICIAL_TOTALS.get(digest, 0)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        task = parse_json(read_text(path), str(path))
    except DataError as broken:
        what = broken.what.replace("not JSON:", "not JSON, or cut short:")
        raise DataError(what, where=broken.where, todo="fetch the file again") from None
    if not isinstance(task, dict):
        raise DataError("a task file holds one JSON object", where=str(path))
    return task


def _first(task: dict[str, Any], key: str, path: Path) -> str:
    """The first of a list of texts; some releases have the text alone."""
    value = task.get(key)
    text = value[0] if isinstance(value, list) and value else value
    if not isinstance(text, str) or not text.strip():
        raise DataError(f"`{key}` is missing or empty", where=str(path))
    return text


def _examples(task: dict[str, Any], key: str, path: Path) -> tuple[Demonstration, ...]:
    rows = task.get(key) or []
    try:
        found = [Demonstration(row["input"], row["output"], row.get("explanation")) for row in rows]
    except (TypeError, KeyError, AttributeError):
        raise DataError(f"each of `{key}` needs `input` and `output`", where=str(path)) from None
    if not all(isinstance(text, str) for one in found for text in (one.input, one.output, one.explanation or "")):
        raise DataError(f"`{key}` must hold texts", where=str(path))
    return tuple(found)


def _instance(row: Any, index: int, path: Path, header: Mapping[str, Any]) -> Instance:
    """`header` is what all instances of the task share."""
    where = f"{path}: Instances[{index}]"
    if not isinstance(row, dict) or not isinstance(row.get("input"), str):
        raise DataError("an instance needs `input`, a text", where=where)
    output = row.get("output")
    references = [output] if isinstance(output, str) else output
    if not isinstance(references, list) or not references or not all(isinstance(text, str) for text in references):
        raise DataError("an instance needs `output`, a list of texts that is not empty", where=where)
    return Instance(
        id=str(row.get("id", f"{path.stem}-{index}")),
        input=row["input"],
        references=tuple(references),
        **header,
    )
