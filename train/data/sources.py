"""Where the tasks come from: files, pacos's own dataset folders, the hub, SuperNI's training split, a mixture of all.

A mixture takes whole sources in order; `step_examples` shuffles them. Weights draw from the seed alone.
"""

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pacos.config import Config, DataSource
from pacos.errors import DataError
from pacos.hub import load_rows
from pacos.records import Task, parse_task, read_rows
from pacos.superni.tasks import read_training_split, training_files
from pacos.train.data.pairs import Pair, parse_pair

log = logging.getLogger("pacos")

Row = TypeVar("Row", Task, Pair)
# Of a row of a file or of the hub; raises DataError. SuperNI has tasks alone.
Parse = Callable[..., Row]


def load_tasks(config: Config) -> list[tuple[str, Task]]:
    """(row name, task) of every source in order. Raises DataError for a source that is absent, broken or empty."""
    return _load(config, parse_task)


def load_pairs(config: Config) -> list[tuple[str, Pair]]:
    """(row name, pair), as `load_tasks`."""
    return _load(config, parse_pair)


def _load(config: Config, parse: Parse[Row]) -> list[tuple[str, Row]]:
    if not config.train.data:
        [path] = source_paths(config)
        if not path.is_file():
            kind = "pairs" if parse is parse_pair else "dataset"
            raise DataError(f"this run has no {kind} yet", where=str(path), todo="make it first, or set train.data")
        return read_file(path, parse)
    sources = enumerate(config.train.data)
    return [row for number, source in sources for row in _weighted(source, config.seed, number, parse)]


def source_paths(config: Config) -> list[Path]:
    """The files of rows that the configuration names."""
    folder, file = ("pairs", "pairs.jsonl") if config.train.objective == "dpo" else ("dataset", "dataset.jsonl")
    paths = [Path(source.path) for source in config.train.data if source.path]
    paths = paths if config.train.data else [config.run_dir / folder]
    return [path / file if path.is_dir() or path.suffix == "" else path for path in paths]


def source_files(config: Config) -> list[Path]:
    """All files on this machine that decide what is trained on; a folder stands for what is in it."""
    files = source_paths(config)
    for source in config.train.data:
        if source.superni:
            files += training_files(Path(source.superni))
        elif source.hub and Path(source.hub).is_dir():
            files.append(Path(source.hub))
    return files


def hub_revisions(config: Config) -> dict[str, str]:
    """{hub id: commit} of the datasets that come from the hub; "" for one that is nowhere to be looked up."""
    sources = [source for source in config.train.data if source.hub and not Path(source.hub).is_dir()]
    return {source.name: hub_revision(source.name, source.revision or "main") for source in sources}


def hub_revision(name: str, revision: str) -> str:
    """The commit that a branch or tag of a dataset stands for: the hub's word, else what the cache was filled from."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        return HfApi().dataset_info(name, revision=revision, timeout=10).sha or ""
    except (OSError, HTTPError):
        kept = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "refs" / revision
        return kept.read_text(encoding="utf-8").strip() if kept.is_file() else ""


def source_names(config: Config) -> str:
    own = "" if config.train.data else str(source_paths(config)[0].parent)
    return ", ".join(source.name for source in config.train.data) or own


def _weighted(source: DataSource, seed: int, number: int, parse: Parse[Row]) -> list[tuple[str, Row]]:
    """Every row `weight` times: its whole part, and the rest for rows drawn without replacement."""
    rows = read_source(source, parse)[: source.limit]
    whole, rest = divmod(source.weight, 1)
    drawn = random.Random(f"{seed}:weight:{number}").sample(range(len(rows)), round(rest * len(rows)))
    taken = rows * int(whole) + [rows[index] for index in sorted(drawn)]
    if not taken:
        raise DataError(f"a weight of {source.weight:g} takes none of its {len(rows)} rows", where=source.name)
    return taken


def read_source(source: DataSource, parse: Parse[Row]) -> list[tuple[str, Row]]:
    if source.superni:
        return read_superni(Path(source.superni), source.per_task)  # type: ignore[return-value]
    return read_file(Path(source.path), parse) if source.path else read_hub(source, parse)


def read_file(path: Path, parse: Parse[Row]) -> list[tuple[str, Row]]:
    if path.is_dir():
        path = path / ("pairs.jsonl" if parse is parse_pair else "dataset.jsonl")
    rows = [parse(values, where=where) for where, values in read_rows(path)]
    if not rows:
        raise DataError(
            "holds no tasks" if parse is parse_task else "holds no pairs",
            where=str(path),
            todo="generate some first, or point to another file",
        )
    return [(f"{path.name}:{number}", row) for number, row in enumerate(rows, 1)]


def read_superni(path: Path, per_task: int | None) -> list[tuple[str, Task]]:
    """The training split as Tk-Instruct uses it: first definition, input, and the first of the outputs."""
    instances, present, listed = read_training_split(path, per_task)
    if present < listed:
        log.warning("%s: %d of the %d tasks of the training split are present", path, present, listed)
    return [
        (f"{row.task}:{row.id}", Task(row.definition.strip(), row.input.strip(), row.references[0].strip()))
        for row in instances
    ]


def read_hub(source: DataSource, parse: Parse[Row]) -> list[tuple[str, Row]]:
    """Rows with Alpaca's columns, or a pair's, from a hub id or from any folder that `datasets` reads.

    Raises DataError for other columns, and as `load_rows`.
    """
    name = source.name
    rows = load_rows(name, split=source.split, revision=source.revision, where="train.data")
    needed = {"chosen", "rejected"} if parse is parse_pair else {"instruction", "output"}
    if lacking := needed - set(rows.column_names):
        columns = ", ".join(rows.column_names)
        raise DataError(
            f"has no column {' and '.join(sorted(lacking))}; its columns are {columns}",
            where=name,
            todo="rename them (datasets' rename_columns), save it as .jsonl and name it as path",
        )
    return [
        (f"{name}:{number}", parse(row | {"input": row.get("input") or ""}, where=f"{name}: row {number}"))
        for number, row in enumerate(rows, 1)
    ]
