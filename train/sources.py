"""Where the tasks come from: files, pacos's own dataset folders, the hub, SuperNI's training split, a mixture of all.

A mixture takes whole sources in order; `step_examples` shuffles them. Weights draw from the seed alone.
"""

import logging
import random
from pathlib import Path

from pacos.config import Config, DataSource
from pacos.errors import ConfigError, DataError, HubOutOfReach
from pacos.records import Task, parse_task, read_tasks
from pacos.superni import read_training_split

log = logging.getLogger("pacos")

NamedTasks = list[tuple[str, Task]]


def load_tasks(config: Config) -> NamedTasks:
    """(row name, task) of every source in order. Raises DataError for a source that is absent, broken or empty."""
    if not config.train.data:
        path = config.run_dir / "dataset" / "dataset.jsonl"
        if not path.is_file():
            raise DataError("this run has no dataset yet", where=str(path), todo="generate first, or set train.data")
        return read_file(path)
    return [row for number, source in enumerate(config.train.data) for row in _weighted(source, config.seed, number)]


def source_paths(config: Config) -> list[Path]:
    """The files whose content the manifest records: those of the hub and SuperNI's are in the dataset's hash."""
    paths = [Path(source.path) for source in config.train.data if source.path]
    paths = paths if config.train.data else [config.run_dir / "dataset"]
    return [path / "dataset.jsonl" if path.is_dir() or path.suffix == "" else path for path in paths]


def source_names(config: Config) -> str:
    return ", ".join(source.name for source in config.train.data) or str(config.run_dir / "dataset")


def _weighted(source: DataSource, seed: int, number: int) -> NamedTasks:
    """Every row `weight` times: its whole part, and the rest for rows drawn without replacement."""
    rows = read_source(source)[: source.limit]
    whole, rest = divmod(source.weight, 1)
    drawn = random.Random(f"{seed}:weight:{number}").sample(range(len(rows)), round(rest * len(rows)))
    taken = rows * int(whole) + [rows[index] for index in sorted(drawn)]
    if not taken:
        raise DataError(f"a weight of {source.weight:g} takes none of its {len(rows)} rows", where=source.name)
    return taken


def read_source(source: DataSource) -> NamedTasks:
    if source.path:
        return read_file(Path(source.path))
    return read_hub(source) if source.hub else read_superni(Path(source.name), source.per_task)


def read_file(path: Path) -> NamedTasks:
    return [(f"{path.name}:{number}", task) for number, task in enumerate(read_tasks(path), 1)]


def read_superni(path: Path, per_task: int | None) -> NamedTasks:
    """The training split as Tk-Instruct uses it: first definition, input, and the first of the outputs."""
    instances, present, listed = read_training_split(path, per_task)
    if present < listed:
        log.warning("%s: %d of the %d tasks of the training split are present", path, present, listed)
    return [
        (f"{row.task}:{row.id}", Task(row.definition.strip(), row.input.strip(), row.references[0].strip()))
        for row in instances
    ]


def read_hub(source: DataSource) -> NamedTasks:
    """Rows with Alpaca's columns from a hub id, or from any folder that `datasets` reads.

    Raises ConfigError for a split that is not there, DataError for other columns or a dataset that is not
    there, HubOutOfReach without network and cache.
    """
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError

    name = source.name
    try:
        rows = load_dataset(name, split=source.split, revision=source.revision)
    except DatasetNotFoundError as failure:
        raise DataError(str(failure).splitlines()[0], where=name, todo="check its id, or `hf auth login`") from failure
    except ConnectionError as failure:
        raise HubOutOfReach("is not in the local cache and the hub is out of reach", where=name) from failure
    except ValueError as failure:
        raise ConfigError(str(failure).splitlines()[0], where=f"train.data: {name}") from failure
    if lacking := {"instruction", "output"} - set(rows.column_names):
        columns = ", ".join(rows.column_names)
        raise DataError(
            f"has no column {' and '.join(sorted(lacking))}; its columns are {columns}",
            where=name,
            todo="rename them (datasets' rename_columns), save it as .jsonl and name it as path",
        )
    return [
        (f"{name}:{number}", parse_task(row | {"input": row.get("input") or ""}, where=f"{name}: row {number}"))
        for number, row in enumerate(rows, 1)
    ]
