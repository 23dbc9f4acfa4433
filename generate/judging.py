"""A pool that judges many candidates at a time: here, or by several workers. What it decides is the same."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pacos.config import FiltersConfig
from pacos.generate.candidates import Candidate, JudgedCandidate
from pacos.generate.pool import Pool
from pacos.generate.prompting.alpaca import TASK_LIST
from pacos.generate.prompting.items import ListFormat
from pacos.generate.ray_actors import ray_actors
from pacos.generate.rounds import PER_WORKER, Rounds
from pacos.generate.worker_processes import worker_processes
from pacos.records import Response, Task
from pacos.seeds import Seed

# Answers or tasks that one process judges together, since finding their neighbours together is faster.
PER_COMMIT = 256

# Answers for each worker in a round; an answer has about 20 items.
ANSWERS_PER_WORKER = 64

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class Judging:
    """A pool, and the workers that judge for it, if any."""

    pool: Pool
    rounds: Rounds | None
    workers: int

    def answers(self, answers: Iterable[Response]) -> Iterator[list[list[JudgedCandidate]]]:
        """The judged items of each answer, several answers at a time, until the pool is full."""
        if self.rounds:
            groups = _groups(answers, ANSWERS_PER_WORKER * self.workers)
            yield from self.rounds.judged([self.pool.candidates(each) for each in group] for group in groups)
            return
        for group in _groups(answers, PER_COMMIT):
            yield self.pool.judge_answers(group)
            if self.pool.is_full:
                return

    def candidates(self, candidates: Iterable[Candidate]) -> Iterator[list[JudgedCandidate]]:
        """The judged candidates, several at a time."""
        if self.rounds:
            groups = _groups(candidates, PER_WORKER * self.workers)
            yield from (judged for [judged] in self.rounds.judged([group] for group in groups))
            return
        for group in _groups(candidates, PER_COMMIT):
            yield self.pool.judge(group)


@contextlib.contextmanager
def open_pool(
    folder: Path,
    seeds: Sequence[Seed],
    filters: FiltersConfig,
    target: int | None = None,
    *,
    lists: ListFormat = TASK_LIST,
    known: Sequence[tuple[str, Task]] = (),
    workers: int | None = None,
    ray: str | None = None,
) -> Iterator[Judging]:
    """A pool that writes into `folder` (see `Pool`), and its workers: processes where they are several, or actors of
    the Ray cluster at the address `ray`, as many as it has CPUs unless their number is given."""
    alone = ray is None and (workers or 1) == 1
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(
            Pool(folder, seeds, filters, target, lists=lists, known=known, remembers=False, indexed=alone)
        )
        if alone:
            yield Judging(pool, None, 1)
            return
        judges = stack.enter_context(
            worker_processes(workers or 1, filters, whole_tasks=lists.whole_tasks)
            if ray is None
            else ray_actors(ray, workers, filters, whole_tasks=lists.whole_tasks)
        )
        yield Judging(pool, Rounds(pool, judges, filters), judges.count)


@contextlib.contextmanager
def unfinished(out: Path) -> Iterator[Path]:
    """A folder in `out` for its files, which replace those in `out` once all are whole, and never if one is not."""
    folder = out / ".unfinished"
    try:
        yield folder
        for file in sorted(folder.iterdir()):
            file.replace(out / file.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _groups(things: Iterable[Thing], size: int) -> Iterator[list[Thing]]:
    rest = iter(things)
    while group := list(islice(rest, size)):
        yield group
