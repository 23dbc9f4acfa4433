"""Seed tasks: the handful of human-written tasks that a dataset grows from.

One JSON object per line, in the field's format (self-instruct `data/seed_tasks.jsonl`):

    {"id": "seed_task_0", "name": "…", "instruction": "…", "instances": [{"input": "", "output": "…"}],
     "is_classification": false}

A seed's first instance is its example in a prompt, as in stanford_alpaca; training can take all of them
(`train.seed_tasks`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.files import read_jsonl
from pacos.records import Task

# In a checkout, pacos/generate is a link to the stage's folder.
PACKAGED_SEEDS = (Path(__file__).parent / "generate" / "data" / "seed_tasks.jsonl").resolve()


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


def seed_instances(path: Path) -> list[tuple[str, Task]]:
    """Every instance of each seed task, as (name, task); a name is the seed's id and the instance: `seed_task_0:1`.

    Raises DataError, with file and line, for a line that is not a seed task.
    """
    instances = []
    for line, values in read_jsonl(path):
        where = f"{path}:{line}"
        seed = _seed(values, where=where)
        for place in range(len(values["instances"])):
            instances.append((f"{seed.id}:{place + 1}", _instance(values, place, where=where)))
    return instances


def _seed(values: dict[str, Any], *, where: str) -> Seed:
    id = _text(values, "id", where=where)
    is_classification = values.get("is_classification", False)
    task = _instance(values, 0, where=where)
    if not isinstance(is_classification, bool):
        raise DataError("`is_classification` must be true or false", where=where)
    return Seed(id, task, is_classification)


def _instance(values: dict[str, Any], place: int, *, where: str) -> Task:
    instruction = _text(values, "instruction", where=where)
    instances = values.get("instances")
    if not isinstance(instances, list) or not instances or not isinstance(instances[place], dict):
        raise DataError('`instances` must be a list of {"input", "output"} with at least one element', where=where)
    instance = instances[place]
    input = "" if instance.get("input") is None else instance["input"]
    if not isinstance(input, str):
        raise DataError(f"`instances[{place}].input` must be text", where=where)
    output = _text(instance, "output", where=where, name=f"instances[{place}].output")
    return Task(instruction.strip(), input.strip(), output.strip())


def _text(values: dict[str, Any], key: str, *, where: str, name: str | None = None) -> str:
    text = values.get(key)
    if not isinstance(text, str):
        raise DataError(
            f"`{name or key}` must be text" if key in values else f"`{name or key}` is missing", where=where
        )
    if not text.strip():
        raise DataError(f"`{name or key}` is empty", where=where)
    return text
