"""Sends many requests to an engine, resumably: every answer is journalled as it arrives and never requested again.

It is on the disk before it counts (see `durable.py`).

asks = [Ask(key, prompt_ids, sampling, journal, record) for …]
await ask_all(engine, asks, read=Prediction, key_of=key_of, stage=stage, doing="evaluating", unit="answers")
"""

import asyncio
import contextlib
import logging
import re
import shutil
from collections import defaultdict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pacos.durable import DurableJournal
from pacos.files import disk_error, write_jsonl
from pacos.progress import bar
from pacos.records import read_records
from pacos.runs import Stage
from pacos.serving.completion import Completion, Sampling
from pacos.serving.engine import Engine

log = logging.getLogger("pacos")

Record = TypeVar("Record")
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Ask(Generic[Record]):
    """One request. `key` identifies it and everything that decides its answer, its prompt's hash included; `record`
    turns the answer into a line of `journal`."""

    key: Hashable
    prompt_ids: list[int]
    sampling: Sampling
    journal: Path
    record: Callable[[Completion], Record]
    adapter: str | None = None


async def ask_all(
    engine: Engine,
    asks: Sequence[Ask[Record]],
    *,
    read: type[Record],
    key_of: Callable[[Record], Hashable],
    stage: Stage,
    doing: str,
    unit: str,
) -> None:
    """Send the requests that the journals do not answer yet, in order, as many at a time as the engine takes.

    Tokens are added to `stage`. `key_of` gives the key of a record, read as `read`. Records that answer none of `asks`
    are removed from their journal, and the journal as it was is archived. The first error cancels the other requests
    and is raised; what was answered is kept.
    """
    wanted: dict[Path, set[Hashable]] = defaultdict(set)
    for ask in asks:
        wanted[ask.journal].add(ask.key)
    answered = {path: _keep(path, keys, read, key_of) for path, keys in wanted.items()}
    missing = [ask for ask in asks if ask.key not in answered[ask.journal]]
    async with contextlib.AsyncExitStack() as files:
        journals = {path: await files.enter_async_context(DurableJournal(path)) for path in wanted}
        progress = files.enter_context(bar(doing, len(asks), unit, initial=len(asks) - len(missing)))

        async def work(ask: Ask[Record]) -> None:
            answer = await engine.complete(ask.prompt_ids, ask.sampling, adapter=ask.adapter)
            stage.tokens["prompt"] += answer.prompt_tokens
            stage.tokens["completion"] += answer.completion_tokens
            await journals[ask.journal].append(ask.record(answer))
            progress.update()

        await work_off(missing, work, engine.in_flight)


def _keep(path: Path, wanted: set[Hashable], read: type[Record], key_of: Callable[[Record], Hashable]) -> set[Hashable]:
    """Keys that are answered already."""
    if not path.is_file():
        return set()
    rows: list[Any] = read_records(path, read, torn_tail=True)
    kept = {key: row for row in rows if (key := key_of(row)) in wanted}
    if len(kept) != len(rows):
        shutil.copyfile(path, archived := _archive_of(path))
        write_jsonl(path, kept.values())
        log.info("%s: some records answer what is not asked any more; the file as it was is %s", path, archived.name)
    return set(kept)


def archive(path: Path, why: str) -> None:
    """Rename a journal whose records answer other requests; `why` is logged in front of the new name."""
    try:
        path.rename(archived := _archive_of(path))
    except OSError as failure:
        raise disk_error(failure, path) from failure
    log.info("%s: %s %s", path.parent, why, archived.name)


def _archive_of(path: Path) -> Path:
    """The next free name: above all numbers that are taken, whichever of them are gone."""
    taken = [re.fullmatch(r"superseded-(\d{1,9})\.jsonl", other.name) for other in path.parent.glob("superseded-*")]
    return path.with_name(f"superseded-{max((int(found[1]) for found in taken if found), default=0) + 1}.jsonl")


async def work_off(items: Sequence[Item], work: Callable[[Item], Awaitable[None]], in_flight: int) -> None:
    """Do `work` on every item in order, `in_flight` at a time; the first error cancels the rest and is raised."""
    queue = iter(items)

    async def one_after_another() -> None:
        for item in queue:
            await work(item)

    tasks = [asyncio.ensure_future(one_after_another()) for _ in range(min(in_flight, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
