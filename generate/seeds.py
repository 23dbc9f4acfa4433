"""Seed tasks: the handful of human-written tasks that a dataset grows from.

One JSON object per line, in the field's format (self-instruct `data/seed_tasks.jsonl`):

    {"id": "seed_task_0", "name": "…", "instruction": "…", "instances": [{"input": "", "output": "…"}],
     "is_classification": false}

A seed's first instance is its example in a prompt, as in stanford_alpaca.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.files import read_jsonl
from pacos.records import Task, read_tasks

PACKAGED_SEEDS = Path(__file__).resolve().parent / "data" / "seed_tasks.jsonl"


@dataclass(frozen=True, slots=True)
class Seed:
    """A seed task and its id."""

    id: str
    task: Task
    is_classification: bool


def seeds_path(configured: str | None) -> Path:
    """The seed file in the configuration, or else the one that pacos comes with."""
    return Path(configured) if configured else PACKAGED_SEEDS


def load_seeds(path: Path, *, at_least: int = 1) -> list[Seed]:
    """Read and check a seed file.

    Raises DataError, with file and line, for a line that is not a seed task, for an id or instruction that
    appears twice, and for fewer than `at_least` seeds.
    """
    seeds: list[Seed] = []
    lines_of: dict[str, int] = {}
    for line, values in read_jsonl(path):
        seed = _seed(values, where=f"{path}:{line}")
        for key, text in (("id", seed.id), ("instruction", seed.task.instruction)):
            if (first := lines_of.setdefault(f"{key}={text}", line)) != line:
                raise DataError(f"`{key}` repeats the one of line {first}", where=f"{path}:{line}")
        seeds.append(seed)
    if len(seeds) < at_least:
        raise DataError(
            f"holds {len(seeds)} seed tasks, but each request shows {at_least}",
            where=str(path),
            todo="add seed tasks, or lower generate.seeds_per_request",
        )
    return seeds


def known_tasks(datasets: Sequence[str]) -> list[tuple[str, Task]]:
    """(id, task) of the datasets in `generate.known`.

    An id is the last two parts of the path and the row: `round-1/dataset:17`. Raises DataError as `read_tasks` does.
    """
    return [
        (f"{'/'.join(Path(name).parts[-2:])}:{row}", task)
        for name in datasets
        for row, task in enumerate(read_tasks(Path(name)), 1)
    ]


def known_files(datasets: Sequence[str]) -> list[Path]:
    """The files of the datasets in `generate.known`, which may be folders."""
    return [path / "dataset.jsonl" if path.is_dir() else path for path in map(Path, datasets)]


def _seed(values: dict[str, Any], *, where: str) -> Seed:
    id = _text(values, "id", where=where)
    instruction = _text(values, "instruction", where=where)
    instances = values.get("instances")
    if not isinstance(instances, list) or not instances or not isinstance(instances[0], dict):
        raise DataError('`instances` must be a list of {"input", "output"} with at least one element', where=where)
    is_classification = values.get("is_classification", False)
    if not isinstance(is_classification, bool):
        raise DataError("`is_classification` must be true or false", where=where)
    instance = instances[0]
    input = instance.get("input", "")
    if not isinstance(input, str):
        raise DataError("`instances[0].input` must be text", where=where)
    output = _text(instance, "output", where=where, name="instances[0].output")
    return Seed(id, Task(instruction.strip(), input.strip(), output.strip()), is_classification)


def _text(values: dict[str, Any], key: str, *, where: str, name: str | None = None) -> str:
    text = values.get(key)
    if not isinstance(text, str):
        raise DataError(
            f"`{name or key}` must be text" if key in values else f"`{name or key}` is missing", where=where
        )
    if not text.strip():
        raise DataError(f"`{name or key}` is empty", where=where)
    return text
