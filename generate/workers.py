"""Workers that judge candidates: each has the whole pool, and a part of every round.

judge(round) ─▶ which break a rule, and which are too near to a task of the pool as each worker has it by then; the
                others, numbered
extend(rows) ─▶ every worker takes them into its pool, as numbers of the vocabulary that all of them share
ask_neighbours(rows) ─▶ how similar each is to the rows before it

They are processes of this machine (`worker_processes.py`) or actors of a Ray cluster (`ray_actors.py`).
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from pacos.config import FiltersConfig
from pacos.generate.candidates import broken_rule, item_rules
from pacos.generate.compared import empty_index
from pacos.generate.filtering.rule import BrokenRule
from pacos.novelty.group import Match, NumberedTexts
from pacos.novelty.neighbours import Neighbours
from pacos.novelty.vocabulary import Numbered, Token
from pacos.records import Task

Verdict = BrokenRule | Match | None


class Verdicts(NamedTuple):
    """The verdict on each task, and the instructions of those that break no rule, numbered by the pool's vocabulary."""

    each: list[Verdict]
    numbered: list[Numbered]


# A task on its way to a worker: a tuple takes less than half of the time to send and to read.
TaskTexts = tuple[str, str, str]


class Worker:
    """A pool of its own, and the rules. What it is asked, it answers; `extend` has no answer."""

    def __init__(self, filters: FiltersConfig, whole_tasks: bool) -> None:
        self._rules = item_rules(filters, whole_tasks)
        self._index = empty_index(filters)

    def handle(self, kind: str, *rest: Any) -> Verdicts | list[Neighbours] | None:
        """Do what a message asks for; its answer, None for a message without one."""
        if kind == "extend":
            self._index.extend_numbered(*rest)
            return None
        return self._index.neighbours(*rest) if kind == "neighbours" else self._verdicts(*rest)

    def _verdicts(self, texts: Sequence[TaskTexts | None]) -> Verdicts:
        tasks = [each and Task(*each) for each in texts]
        broken = [broken_rule(task, self._rules) for task in tasks]
        whole = [task.instruction for task, rule in zip(tasks, broken, strict=True) if task and not rule]
        numbered = list(self._index.numbered(whole))
        matches = iter(self._index.matches_of(numbered))
        return Verdicts(
            [rule or (next(matches) if task else None) for task, rule in zip(tasks, broken, strict=True)], numbered
        )


class Line(Protocol):
    """The way to a worker: messages are handled in the order of sending, and neither end waits for the other to read.

    `receive` waits for the next answer. It raises RunError where the worker ends before that.
    """

    def send(self, kind: str, *rest: Any) -> None: ...

    def receive(self) -> Any: ...


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
        texts = [task and (task.instruction, task.input, task.output) for task in tasks]
        for line, part in zip(self._lines, _shares(len(texts), self.count), strict=True):
            line.send("judge", texts[part])

    def extend(self, ids: Sequence[str], texts: NumberedTexts, tokens: Sequence[Token]) -> None:
        """Take texts into the pools, once these tokens are in their vocabularies."""
        for line in self._lines:
            line.send("extend", ids, texts, tokens)

    def ask_neighbours(self, start: int, end: int) -> None:
        """Ask for the neighbours of the pool's texts from `start` up to `end`."""
        for line, part in zip(self._lines, _shares(end - start, self.count), strict=True):
            line.send("neighbours", start + part.start, start + part.stop)

    def verdicts(self) -> Verdicts:
        """The next answer, where it is to `judge`. Raises RunError."""
        answers: list[Verdicts] = [line.receive() for line in self._lines]
        return Verdicts(
            [verdict for answer in answers for verdict in answer.each],
            [group for answer in answers for group in answer.numbered],
        )

    def neighbours(self) -> list[Neighbours]:
        """The next answer, where it is to `ask_neighbours`. Raises RunError."""
        return [each for line in self._lines for each in line.receive()]


def _shares(size: int, count: int) -> list[slice]:
    """`size` things in `count` runs of nearly equal length."""
    edges = [size * part // count for part in range(count + 1)]
    return [slice(first, end) for first, end in itertools.pairwise(edges)]
