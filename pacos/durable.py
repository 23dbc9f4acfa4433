"""A journal whose lines are on the disk itself before they count: a power cut loses none of them."""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self

from pacos.disk import disk_error, sync_folder
from pacos.files import JsonlWriter


class DurableJournal:
    """A JSONL file to which many coroutines append, and wait until their record is on the disk.

    One fsync serves all lines that were written before it began (group commit), and runs in a thread: the event loop
    goes on meanwhile. Raises RunError as `JsonlWriter` does.
    """

    def __init__(self, path: Path) -> None:
        self._writer = JsonlWriter(path)
        self._written = self._synced = 0
        self._syncing: asyncio.Task[None] | None = None
        try:
            sync_folder(path.parent)  # the name of a new file
        except OSError as failure:
            raise disk_error(failure, path) from failure

    def append(self, record: Any) -> Coroutine[Any, Any, None]:
        """Write one record now; what is returned waits until it is on the disk, and may be cancelled."""
        self._writer.write(record)
        self._written += 1
        return self._on_disk(self._written)

    async def _on_disk(self, line: int) -> None:
        while self._synced < line:
            if self._syncing is None:
                self._syncing = asyncio.create_task(self._sync())
            await asyncio.shield(self._syncing)

    async def _sync(self) -> None:
        line = self._written
        try:
            await asyncio.to_thread(self._writer.to_disk)
            self._synced = line
        finally:
            self._syncing = None

    def close(self) -> None:
        """Close the file, when nothing is appended any more."""
        self._writer.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._syncing:
            await asyncio.gather(self._syncing, return_exceptions=True)
        self.close()
