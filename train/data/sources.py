"""Reads training rows: files, pacos's own dataset folders, the hub, SuperNI's training split, or a mixture of them.

Every row becomes what the objective and the template train on (train/data/rows.py), of whatever form its source is.

A mixture takes whole sources in order, then the seed tasks (`train.seed_tasks`); `step_indices` shuffles them. Weights
draw from the seed alone.
"""

import logging
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacos.chat_templates import chat_template_files
from pacos.config import Config, DataSource
from pacos.conversations import LISTS
from pacos.errors import DataError
from pacos.hub import load_rows
from pacos.records import Task, refuse_conversation
from pacos.seeds import seed_instances, seeds_path
from pacos.superni.tasks import read_training_split, training_files
from pacos.templates import Template, template
from pacos.train.data.files import read_table
from pacos.train.data.rows import Parse, as_conversation, row_parser
from pacos.train.interfaces import Objective, objective_of

log = logging.getLogger("pacos")

# (name, row): a Task or a Pair, as the objective parses it; the name is "file:line", "task:instance", "hub id:number".
NamedRow = tuple[str, Any]


def read_training_rows(config: Config) -> list[NamedRow]:
    """The rows of every source in order, and those of the seed tasks with `train.seed_tasks`.

    Where the template drops duplicates, the first row of each text. Raises DataError for a source that is absent,
    broken or empty.
    """
    rows, form = _read_sources(config), template(config.train.template)
    if config.train.seed_tasks:
        rows += seed_instances(seeds_path(config.generate.seeds))
    if form.is_chat:
        return [(name, as_conversation(row, form)) for name, row in rows]
    if not form.drops_duplicates:
        return rows
    kept = first_of_each_text(rows, form, config.seed)
    if len(kept) < len(rows):
        log.info("train: %d rows have the text of an earlier row and are left out", len(rows) - len(kept))
    return kept


def first_of_each_text(rows: Sequence[NamedRow], form: Template, seed: int) -> list[NamedRow]:
    """The rows without the tasks whose rendered text an earlier task has; one that a weight repeats stays repeated."""
    first: dict[tuple[str, str], NamedRow] = {}

    def is_first(named: NamedRow) -> bool:
        name, row = named
        # The draw with which the row is rendered to be tokenised (examples.py).
        return not isinstance(row, Task) or first.setdefault(form.render(row, f"{seed}:{name}"), named) is named

    return [named for named in rows if is_first(named)]


def _read_sources(config: Config) -> list[NamedRow]:
    objective, parse = objective_of(config.train), row_parser(config.train)
    if not config.train.data:
        [path] = source_paths(config)
        if not path.is_file():
            raise DataError(
                f"this run has no {objective.file[0]} yet", where=str(path), todo="make it first, or set train.data"
            )
        return read_file(path, objective, parse)
    sources = enumerate(config.train.data)
    return [row for number, source in sources for row in _weighted(source, config.seed, number, objective, parse)]


def source_paths(config: Config) -> list[Path]:
    """The files of rows that the configuration names."""
    folder, file = objective_of(config.train).file
    paths = [Path(source.path) for source in config.train.data if source.path]
    paths = paths if config.train.data else [config.run_dir / folder]
    return [
        path if os.path.isfile(path) or (path.suffix and not os.path.isdir(path)) else path / file for path in paths
    ]


def source_files(config: Config) -> list[Path]:
    """All local files that decide what is trained on; a folder stands for its content."""
    files = source_paths(config) + chat_template_files(config)
    if config.train.seed_tasks:
        files.append(seeds_path(config.generate.seeds))
    for source in config.train.data:
        if source.superni:
            files += training_files(Path(source.superni))
        elif source.hub and Path(source.hub).is_dir():
            files.append(Path(source.hub))
    return files


def hub_revisions(data: Sequence[DataSource]) -> dict[str, str]:
    """{hub id: commit} of the datasets that come from the hub; "" for one that cannot be looked up."""
    sources = [source for source in data if source.hub and not Path(source.hub).is_dir()]
    return {source.name: hub_revision(source.name, source.revision or "main") for source in sources}


def hub_revision(name: str, revision: str) -> str:
    """The commit of a dataset's branch or tag: from the hub, otherwise from the local cache."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    try:
        return HfApi().dataset_info(name, revision=revision, timeout=10).sha or ""
    except (OSError, HTTPError):
        kept = Path(HF_HUB_CACHE) / f"datasets--{name.replace('/', '--')}" / "refs" / revision
        return kept.read_text(encoding="utf-8").strip() if kept.is_file() else ""


def source_names(config: Config) -> str:
    """The sources' names for messages; the run's own folder where none is configured."""
    own = "" if config.train.data else str(source_paths(config)[0].parent)
    return ", ".join(source.name for source in config.train.data) or own


def _weighted(source: DataSource, seed: int, number: int, objective: Objective, parse: Parse) -> list[NamedRow]:
    """Every row `weight` times: the integer part for all rows, the fraction for rows drawn without replacement."""
    rows = read_source(source, objective, parse)[: source.limit]
    repeats, rest = divmod(source.weight, 1)
    drawn = random.Random(f"{seed}:weight:{number}").sample(range(len(rows)), round(rest * len(rows)))
    taken = rows * int(repeats) + [rows[index] for index in sorted(drawn)]
    if not taken:
        raise DataError(f"a weight of {source.weight:g} takes none of its {len(rows)} rows", where=source.name)
    return taken


def read_source(source: DataSource, objective: Objective, parse: Parse) -> list[NamedRow]:
    """All rows of one source, before limit and weight."""
    if source.superni:
        return read_superni(Path(source.superni), source.per_task)
    return read_file(Path(source.path), objective, parse) if source.path else read_hub(source, objective, parse)


def read_file(path: Path, objective: Objective, parse: Parse) -> list[NamedRow]:
    """Rows of a file or of a pacos dataset folder. Raises DataError for one without rows, and as `read_table`."""
    if os.path.isdir(path):
        path = path / objective.file[1]
    rows = [parse(values, where=where) for where, values in read_table(path)]
    if not rows:
        raise DataError(
            f"holds no {objective.rows_name}", where=str(path), todo="generate some first, or point to another file"
        )
    return [(f"{path.name}:{number}", row) for number, row in enumerate(rows, 1)]


def read_superni(path: Path, per_task: int | None) -> list[NamedRow]:
    """The training split as Tk-Instruct uses it: first definition, input, and the first of the outputs."""
    instances, present, listed = read_training_split(path, per_task)
    if present < listed:
        log.warning("%s: %d of the %d tasks of the training split are present", path, present, listed)
    return [
        (f"{row.task}:{row.id}", Task(row.definition.strip(), row.input.strip(), row.references[0].strip()))
        for row in instances
    ]


def read_hub(source: DataSource, objective: Objective, parse: Parse) -> list[NamedRow]:
    """Rows from a hub id or from any folder that `datasets` loads. Raises DataError for columns of no known form, and
    as `load_rows`.
    """
    name = source.name
    rows = load_rows(name, split=source.split, revision=source.revision, where="train.data")
    columns = set(rows.column_names)
    conversations = objective.examples_per_unit == 1 and columns & {*LISTS, "completion"}
    if not conversations and (lacking := objective.columns - columns):
        for row in rows.select(range(min(1, len(rows)))):
            refuse_conversation(row, where=f"{name}: row 1")
        raise DataError(
            f"has no column {' and '.join(sorted(lacking))}; its columns are {', '.join(rows.column_names)}",
            where=name,
            todo="rename them (datasets' rename_columns), save it as .jsonl and name it as path",
        )
    return [(f"{name}:{number}", parse(row, where=f"{name}: row {number}")) for number, row in enumerate(rows, 1)]
