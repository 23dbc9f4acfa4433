"""The index of what new tasks must be novel against from the beginning: seeds, and the datasets of `generate.known`.

Many known tasks take long to index, so their index is kept beside the dataset for the next session.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path

from pacos.config import FiltersConfig
from pacos.errors import RunError
from pacos.generate.filtering.filters import novelty_tokens
from pacos.novelty.index import NoveltyIndex
from pacos.novelty.snapshot import load_index, read_about, save_index
from pacos.records import Task

log = logging.getLogger("pacos")

# Fewer texts are indexed within a second.
WORTH_KEEPING = 20_000


def empty_index(filters: FiltersConfig) -> NoveltyIndex:
    """An index that decides as `filters` say."""
    return NoveltyIndex(filters.novelty, novelty_tokens(filters))


def compared_index(
    compared: Sequence[tuple[str, Task]], filters: FiltersConfig, folder: Path | None = None
) -> NoveltyIndex:
    """An index of (id, task). With a `folder` it is taken from there where an earlier session kept that of the same
    tasks, and kept there where they are many; a run goes on where that cannot be done, which is said."""
    kept = folder if len(compared) >= WORTH_KEEPING else None
    ids, texts = [id for id, _ in compared], [task.instruction for _, task in compared]
    about = {"sha256": hashlib.sha256(json.dumps([filters.model_dump(mode="json"), ids, texts]).encode()).hexdigest()}
    if kept and read_about(kept) == about:
        index = empty_index(filters)
        if load_index(index, kept) is not None:
            log.info("%d known tasks are taken from the index of an earlier session", len(index))
            return index
    index = empty_index(filters)
    index.extend(ids, texts)
    if kept:
        try:
            save_index(index, kept, about, {})
        except RunError as failure:
            log.warning("the next session will index the known tasks again, as that could not be saved: %s", failure)
    return index
