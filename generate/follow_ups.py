"""The session that asks follow-up requests about each accepted instruction: two as Self-Instruct does, or one.

    commit(list i) ─▶ pool ─▶ for each accepted instruction: classification, then instances ─▶ written in the order of i
                                                             (where the preset asks)

There is no barrier between the phases. An instruction joins the pool, and may be shown in later prompts, as soon as its
list is committed; its rows are written after those of all earlier lists. So the order in which answers come changes
nothing, and a budget that runs out leaves a dataset rather than a list of instructions.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pacos.generate.budget import StoppedBy
from pacos.generate.candidates import JudgedCandidate
from pacos.generate.filtering.instances import judge_instances
from pacos.generate.filtering.reasons import Reason
from pacos.generate.journal import Responses
from pacos.generate.pool import Pool
from pacos.generate.presets import preset
from pacos.generate.prompting.follow_ups import (
    CLASSIFY,
    Classification,
    FollowUp,
    ask_for_instances,
    parse_classification,
    parse_instances,
)
from pacos.generate.session import Session, check_same_prompt
from pacos.records import Rejection, Response

TIME_OR_MONEY = (StoppedBy.SECONDS, StoppedBy.MONEY)


@dataclass(frozen=True, slots=True)
class CommittedList:
    """A list's answer, its judged items, and the tasks that send the follow-ups about the accepted ones."""

    answer: Response
    judged: list[JudgedCandidate]
    asking: list["asyncio.Task[None]"]


class FollowUpSession(Session):
    """Commits lists and sends follow-ups about their accepted instructions; writes rows in the order of the lists."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.phases = preset(self.maker.config.generate.preset).phases
        self._lists: asyncio.Queue[CommittedList | None] = asyncio.Queue()
        self._asking: set[asyncio.Task[None]] = set()

    def requests_before(self, number: int) -> int:
        return number + len(self.phases) * len(self.pool.accepted)

    def commit(self, answer: Response) -> bool:
        self._check_replayed(answer)
        if self._writer.done():
            return False
        judged = self.pool.judge_answer(answer)
        self._sizes.append(len(self.pool.accepted))
        asking = [asyncio.create_task(self._ask_about(each)) for each in judged if not each.rejection]
        self._asking.update(asking)
        self._lists.put_nowait(CommittedList(answer, judged, asking))
        return not self.pool.is_full and self.budget.time_or_money() is None

    async def _ask_about(self, judged: JudgedCandidate) -> None:
        if CLASSIFY.phase not in self.phases or await self._ask_follow_up(judged, CLASSIFY):
            kind = classification_of(self.journal.answers, judged.candidate.id)
            await self._ask_follow_up(judged, ask_for_instances(kind))

    async def _ask_follow_up(self, judged: JudgedCandidate, follow_up: FollowUp) -> bool:
        """Send a follow-up unless the journal has its answer. False if time or money ran out before it was sent."""
        candidate = judged.candidate
        assert candidate.parsed.task is not None
        request = self.maker.follow_up(candidate.request, candidate.id, candidate.parsed.task.instruction, follow_up)
        known = self.journal.answers.follow_ups.get((request.phase, request.key))
        if known:
            check_same_prompt(known, request, self.journal.path)
        elif self.budget.time_or_money():
            return False
        else:
            await self.journal.append(await self.send(request))
        return True

    async def _write_in_order(self) -> None:
        """Write lists until a limit on requests, tokens or acceptance is reached, or there are no more.

        Lists whose follow-ups were answered before time or money ran out are still written.
        """
        while committed := await self._lists.get():
            await asyncio.gather(*committed.asking)
            self._asking.difference_update(committed.asking)
            write_list(self.pool, committed.answer, committed.judged, self.journal.answers, self.phases)
            self.stopped_by = self.budget.stopped_by(self.pool.tally)
            self.show()
            if self.stopped_by and self.stopped_by not in TIME_OR_MONEY:
                return

    async def __aenter__(self) -> Self:
        self._writer = asyncio.create_task(self._write_in_order())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait until all lists are written; after an error cancel what is under way."""
        try:
            if error is None:
                self._lists.put_nowait(None)
                await self._writer
        finally:
            left = [self._writer, *self._asking]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)


def write_list(
    pool: Pool, answer: Response, judged: Sequence[JudgedCandidate], answers: Responses, phases: Collection[str]
) -> None:
    """Write the items of a list: the rejections, and the tasks made of the accepted instructions.

    `phases` are those of the follow-ups that are asked about each of these.
    """
    keys = [(phase, each.candidate.id) for each in judged for phase in phases]
    pool.tally.count_answers([answer, *(answers.follow_ups[key] for key in keys if key in answers.follow_ups)])
    for each in judged:
        pool.write_item(each)
        if not each.rejection:
            _write_instances(pool, each, answers, phases)


def _write_instances(pool: Pool, judged: JudgedCandidate, answers: Responses, phases: Collection[str]) -> None:
    candidate = judged.candidate
    assert candidate.parsed.task is not None
    if any((phase, candidate.id) not in answers.follow_ups for phase in phases):
        pool.write_rejection(Rejection(candidate.request, candidate.item, Reason.PENDING, raw=candidate.parsed.raw))
        return
    kind = classification_of(answers, candidate.id)
    answer = answers.follow_ups["instances", candidate.id]
    instances = parse_instances(candidate.parsed.task.instruction, kind, answer.text, answer.finish_reason)
    pool.tally.classification[kind] += 1
    for place, (parsed, reason) in enumerate(judge_instances(instances, pool.rules), 1):
        pool.tally.instances += 1
        if parsed.task and not reason:
            pool.write_row(judged, parsed.task, f"{candidate.id}-{place}", kind)
        else:
            pool.write_rejection(Rejection(candidate.request, candidate.item, str(reason), raw=parsed.raw))


def classification_of(answers: Responses, key: str) -> Classification:
    """The answer to "Is it classification?" about the instruction `key`; "unknown" where there is none."""
    answer = answers.follow_ups.get(("classify", key))
    return parse_classification(answer.text) if answer else "unknown"
