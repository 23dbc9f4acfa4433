"""The datasets of `generate.known`, against whose tasks new ones must be novel."""

from collections.abc import Sequence
from pathlib import Path

from pacos.records import Task, read_tasks, tasks_file


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
    return [tasks_file(Path(name)) for name in datasets]
