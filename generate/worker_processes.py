"""Workers in processes of this machine, each at the end of a pipe."""

import contextlib
import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from pacos.config import FiltersConfig
from pacos.errors import RunError
from pacos.generate.workers import Worker, Workers


@contextlib.contextmanager
def worker_processes(count: int, filters: FiltersConfig, *, whole_tasks: bool) -> Iterator[Workers]:
    """`count` workers in processes that have ended on exit. They end too when this process does."""
    # Not forked: threads of libraries do not survive that.
    context = multiprocessing.get_context("spawn")
    lines: list[_Pipe] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, filters, whole_tasks), daemon=True)
            process.start()
            theirs.close()
            lines.append(_Pipe(process, ours))
        yield Workers(lines)
    finally:
        for line in lines:
            line.close()


class _Pipe:
    """A process, and the pipe to it. Messages are sent by a thread: neither side ever waits for the other to read."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self._process, self._connection = process, connection
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()

    def send(self, kind: str, *rest: Any) -> None:
        self._messages.put((kind, *rest))

    def _send_all(self) -> None:
        while (message := self._messages.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the process has ended, and `receive` says so
                return

    def receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError):
            self._process.join(timeout=10)
            raise RunError(
                f"a worker process ended with exit code {self._process.exitcode}",
                todo="see above for its error; without one it ran out of memory: use fewer --workers",
            ) from None
        return answer

    def close(self) -> None:
        self._messages.put(None)
        self._process.terminate()
        self._process.join()
        self._sender.join()
        self._connection.close()


def _work(connection: Connection, filters: FiltersConfig, whole_tasks: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one ends it
    worker = Worker(filters, whole_tasks)
    while True:
        try:
            message = connection.recv()
        except EOFError:
            return
        answer = worker.handle(*message)
        if answer is not None:
            connection.send(answer)
