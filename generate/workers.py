"""Processes that judge candidates: each has the whole pool, and a part of every round.

judge(round) ─▶ which break a rule, and which are too near to a task of the pool as each process has it by then
extend(rows) ─▶ every process takes them into its pool
ask_neighbours(rows) ─▶ how similar each is to the rows before it
"""

import itertools
import multiprocessing
import queue
import signal
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

from pacos.config import FiltersConfig
from pacos.errors import RunError
from pacos.generate.candidates import broken_rule, item_rules
from pacos.generate.filtering.filters import novelty_tokens
from pacos.generate.filtering.rule import BrokenRule
from pacos.novelty.group import Match
from pacos.novelty.index import NoveltyIndex
from pacos.records import Task

Verdict = BrokenRule | Match | None


class Workers:
    """`count` processes. A context manager: on exit they have ended. They end too when this process does.

    What is asked for is answered in the order of asking; `receive` waits for the next answer. Raises RunError when a
    process ends before that.
    """

    def __init__(self, count: int, filters: FiltersConfig, *, whole_tasks: bool) -> None:
        # Not forked: threads of libraries do not survive that.
        context = multiprocessing.get_context("spawn")
        self.count = count
        self._lines: list[_Line] = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, filters, whole_tasks), daemon=True)
            process.start()
            theirs.close()
            self._lines.append(_Line(process, ours))

    def judge(self, tasks: Sequence[Task | None]) -> None:
        """Ask for the verdict on each task; None for what is none."""
        for line, part in zip(self._lines, _shares(len(tasks), self.count), strict=True):
            line.send("judge", tasks[part])

    def extend(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Take texts into the pools."""
        for line in self._lines:
            line.send("extend", ids, texts)

    def ask_neighbours(self, start: int, end: int) -> None:
        """Ask for the neighbours of the pool's texts from `start` up to `end`."""
        for line, part in zip(self._lines, _shares(end - start, self.count), strict=True):
            line.send("neighbours", start + part.start, start + part.stop)

    def receive(self) -> list[Any]:
        """The next answer: verdicts or neighbours, in the order of what was asked about."""
        return [each for line in self._lines for each in line.receive()]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for line in self._lines:
            line.close()


class _Line:
    """A process, and the pipe to it. Messages are sent by a thread: neither side ever waits for the other to read."""

    def __init__(self, process: BaseProcess, connection: Connection) -> None:
        self._process, self._connection = process, connection
        self._messages: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._sender = threading.Thread(target=self._send_all, daemon=True)
        self._sender.start()

    def send(self, *message: Any) -> None:
        self._messages.put(message)

    def _send_all(self) -> None:
        while (message := self._messages.get()) is not None:
            try:
                self._connection.send(message)
            except OSError:  # the process has ended, and `receive` says so
                return

    def receive(self) -> list[Any]:
        try:
            answer: list[Any] = self._connection.recv()
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
    rules = item_rules(filters, whole_tasks)
    index = NoveltyIndex(filters.novelty, novelty_tokens(filters))
    while True:
        try:
            kind, *rest = connection.recv()
        except EOFError:
            return
        if kind == "extend":
            index.extend(*rest)
        elif kind == "neighbours":
            connection.send(index.neighbours(*rest))
        else:
            broken = [broken_rule(task, rules) for task in rest[0]]
            whole = [task.instruction for task, rule in zip(rest[0], broken, strict=True) if task and not rule]
            matches = iter(index.matches(whole))
            verdicts = [rule or (next(matches) if task else None) for task, rule in zip(rest[0], broken, strict=True)]
            connection.send(verdicts)


def _shares(size: int, count: int) -> list[slice]:
    """`size` things in `count` runs of nearly equal length."""
    edges = [size * part // count for part in range(count + 1)]
    return [slice(first, end) for first, end in itertools.pairwise(edges)]
