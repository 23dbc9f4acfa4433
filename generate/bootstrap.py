"""Self-Instruct's session: list → accepted instructions → classification? → instances, with no barrier between them.

    commit(list i) ─▶ pool ─▶ a unit: for each accepted instruction, two answers in turn ─▶ written in the order of i

An instruction joins the pool, and may be shown in later prompts, as soon as its list is committed. Its row is written
when all before it are. So the order of coming decides nothing, and a budget that runs out leaves a dataset, not a list
of instructions.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pacos.generate.budget import StoppedBy
from pacos.generate.filtering.reasons import Reason
from pacos.generate.journal import DETAIL_PHASES, Answers
from pacos.generate.pool import Judged, Pool
from pacos.generate.preparation import prepare, read_instances, read_kind
from pacos.generate.prompting.request import Request
from pacos.generate.session import Session, check_same_prompt
from pacos.records import Rejection, Response

CLOCK = (StoppedBy.SECONDS, StoppedBy.MONEY)


@dataclass(frozen=True, slots=True)
class Unit:
    """A list answer, its items as judged, and the work under way for the accepted ones."""

    answer: Response
    judged: list[Judged]
    asking: list["asyncio.Task[None]"]


class Bootstrap(Session):
    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self._units: asyncio.Queue[Unit | None] = asyncio.Queue()
        self._started: set[asyncio.Task[None]] = set()

    def requests_before(self, number: int) -> int:
        return number + 2 * len(self.pool.accepted)

    def commit(self, answer: Response) -> bool:
        self._check_replayed(answer)
        if self._writer.done():
            return False
        judged = self.pool.judge_answer(answer)
        self._sizes.append(len(self.pool.accepted))
        asking = [asyncio.create_task(self._ask_about(each)) for each in judged if not each.rejection]
        self._started.update(asking)
        self._units.put_nowait(Unit(answer, judged, asking))
        return not self.pool.is_full and self.budget.clock() is None

    async def _ask_about(self, judged: Judged) -> None:
        candidate = judged.candidate
        assert candidate.parsed.task is not None
        number, key, instruction = candidate.request, candidate.id, candidate.parsed.task.instruction
        if await self._answered(self.maker.classify(number, key, instruction)):
            kind = read_kind(self.journal.answers.details, key)
            await self._answered(self.maker.instances(number, key, instruction, kind))

    async def _answered(self, request: Request) -> bool:
        """See that the journal has the answer; False where time or money ran out before it was asked."""
        known = self.journal.answers.details.get((request.phase, request.key))
        if known:
            check_same_prompt(known, request, self.journal.path)
        elif self.budget.clock():
            return False
        else:
            self.journal.append(await self.send(request))
        return True

    async def _write_in_order(self) -> None:
        """Write units until a limit on requests, tokens or acceptance is reached, or no more come.

        What was answered before time or money ran out is written all the same.
        """
        while unit := await self._units.get():
            await asyncio.gather(*unit.asking)
            self._started.difference_update(unit.asking)
            write_unit(self.pool, unit.answer, unit.judged, self.journal.answers)
            self.stopped_by = self.budget.stopped_by(self.pool.tally)
            self.show()
            if self.stopped_by and self.stopped_by not in CLOCK:
                return

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_in_order())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._units.put_nowait(None)
                await self._writer
        finally:
            left = [self._writer, *self._started]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


def write_unit(pool: Pool, answer: Response, judged: Sequence[Judged], answers: Answers) -> None:
    """Write the items of a list answer: rejections, and the tasks that the accepted instructions came to."""
    keys = [(phase, each.candidate.id) for each in judged for phase in DETAIL_PHASES]
    asked = [answer, *(answers.details[key] for key in keys if key in answers.details)]
    pool.tally.requests += len(asked)
    pool.tally.tokens += sum(one.prompt_tokens + one.completion_tokens for one in asked)
    for each in judged:
        pool.write_item(each)
        if not each.rejection:
            _write_instances(pool, each, answers)


def _write_instances(pool: Pool, judged: Judged, answers: Answers) -> None:
    candidate = judged.candidate
    assert candidate.parsed.task is not None
    instances = read_instances(answers.details, candidate.id, candidate.parsed.task.instruction)
    if instances is None:
        pending = Rejection(candidate.request, candidate.item, Reason.PENDING, raw=candidate.parsed.raw)
        pool.write_rejection(pending)
        return
    kind = read_kind(answers.details, candidate.id)
    pool.tally.classification[kind] += 1
    for place, (parsed, reason) in enumerate(prepare(instances, pool.rules), 1):
        pool.tally.instances += 1
        if parsed.task and not reason:
            pool.write_row(judged, parsed.task, f"{candidate.id}-{place}", kind)
        else:
            pool.write_rejection(Rejection(candidate.request, candidate.item, str(reason), raw=parsed.raw))
