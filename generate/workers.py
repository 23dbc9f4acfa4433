"""Workers that judge candidates: each has the whole pool, and a part of every round.

judge(round) ─▶ which break a rule, and which are too near to a task of the pool as each worker has it by then
extend(rows) ─▶ every worker takes them into its pool
ask_neighbours(rows) ─▶ how similar each is to the rows before it

They are processes of this machine (`worker_processes.py`) or actors of a Ray cluster (`ray_actors.py`).
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from pacos.config import FiltersConfig
from pacos.generate.candidates import broken_rule, item_rules
from pacos.generate.filtering.filters import novelty_tokens
from pacos.generate.filtering.rule import BrokenRule
from pacos.novelty.group import Match
from pacos.novelty.index import NoveltyIndex
from pacos.records import Task

Verdict = BrokenRule | Match | None

# Texts whose tokens a worker keeps: its part of some rounds, and what joins the pool meanwhile.
_REMEMBERED = 1 << 14


class Worker:
    """A pool of its own, and the rules. What it is asked, it answers with a list; `extend` has no answer."""

    def __init__(self, filters: FiltersConfig, whole_tasks: bool) -> None:
        self._rules = item_rules(filters, whole_tasks)
        # What is judged joins the pool two rounds later, if it is accepted.
        self._index = NoveltyIndex(filters.novelty, lru_cache(_REMEMBERED)(novelty_tokens(filters)))

    def handle(self, kind: str, *rest: Any) -> list[Any] | None:
        """Do what a message asks for; its answer, None for a message without one."""
        if kind == "extend":
            self._index.extend(*rest)
            return None
        return self._index.neighbours(*rest) if kind == "neighbours" else self._verdicts(*rest)

    def _verdicts(self, tasks: Sequence[Task | None]) -> list[Verdict]:
        broken = [broken_rule(task, self._rules) for task in tasks]
        whole = [task.instruction for task, rule in zip(tasks, broken, strict=True) if task and not rule]
        matches = iter(self._index.matches(whole))
        return [rule or (next(matches) if task else None) for task, rule in zip(tasks, broken, strict=True)]


class Line(Protocol):
    """The way to a worker: messages are handled in the order of sending, and neither end waits for the other to read.

    `receive` waits for the next answer. It raises RunError where the worker ends before that.
    """

    def send(self, kind: str, *rest: Any) -> None: ...

    def receive(self) -> list[Any]: ...


class Workers:
    """The workers at the ends of `lines`. What is asked for is answered in the order of asking."""

    def __init__(self, lines: Sequence[Line]) -> None:
        self._lines = lines

    @property
    def count(self) -> int:
        """How many they are."""
        return len(self._lines)

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
        """The next answer: verdicts or neighbours, in the order of what was asked about. Raises RunError."""
        return [each for line in self._lines for each in line.receive()]


def _shares(size: int, count: int) -> list[slice]:
    """`size` things in `count` runs of nearly equal length."""
    edges = [size * part // count for part in range(count + 1)]
    return [slice(first, end) for first, end in itertools.pairwise(edges)]
