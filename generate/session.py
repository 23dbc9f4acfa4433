"""One run's requests and commits, between the scheduler and the pool, where a list is all that is asked for.

`follow_ups.py` has the session for presets that ask more requests about every accepted instruction.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pacos.errors import RunError
from pacos.generate.budget import Budget, StoppedBy
from pacos.generate.journal import Journal
from pacos.generate.pool import Pool
from pacos.generate.prompting.request import GenerationRequest, RequestMaker
from pacos.records import Response, Task
from pacos.serving.engine import Engine

REFRESH_S = 1.0


class Session:
    """Sends requests and commits their answers. An async context manager: on exit all work it started has ended."""

    def __init__(
        self, engine: Engine, maker: RequestMaker, journal: Journal, pool: Pool, budget: Budget, progress: Any
    ) -> None:
        self.maker, self.journal, self.pool, self.budget = maker, journal, pool, budget
        self.stopped_by: StoppedBy | None = None
        self._engine = engine
        self._in_flight = 0
        self._progress = progress
        self._rate: float | None = None  # tokens per second that the engine generates now, where it reports them
        self._window = maker.config.generate.window
        self._asked: set[int] = set()
        self._sizes: list[int] = []  # of the pool, after each commit

    async def ask(self, number: int) -> Response:
        """Send the request for list `number` and return its answer."""
        self._asked.add(number)
        return await self.send(self.maker.make(number, self._pool_for(number)))

    async def send(self, request: GenerationRequest) -> Response:
        """Send a request and return its answer as the journal stores it."""
        self._in_flight += 1
        try:
            return await answer_to(request, self._engine)
        finally:
            self._in_flight -= 1

    def may_ask(self, number: int) -> bool:
        """Whether the budget allows the request for list `number`."""
        ahead = (self.journal.answers.get(before) for before in range(len(self._sizes), number))
        tokens = sum(answer.prompt_tokens + answer.completion_tokens for answer in ahead if answer)
        return self.budget.may_ask(self.requests_before(number), self.pool.tally.tokens + tokens)

    def requests_before(self, number: int) -> int:
        """Requests that are committed before list `number`, as far as they are known."""
        return number

    def commit(self, answer: Response) -> bool:
        """Commit the next answer in the order of requests; False when the run has reached its target or a limit."""
        if len(self._sizes) < len(self.pool.sizes):
            # Judged in an earlier session (`pool_snapshot.py`); the last of these prompts stands for all.
            self._sizes.append(self.pool.sizes[len(self._sizes)])
            if len(self._sizes) < len(self.pool.sizes):
                return True
            self._check_replayed(answer)
        else:
            self._check_replayed(answer)
            self.pool.commit_answer(answer)
            self._sizes.append(self.pool.count)
        self.stopped_by = self.budget.stopped_by(self.pool.tally)
        self.show()
        return self.stopped_by is None

    def show(self) -> None:
        """Update the progress bar."""
        tally, journal, cost = self.pool.tally, self.journal, self.budget.cost
        rate = journal.tokens.completion / max(journal.seconds, 1e-9) if self._rate is None else self._rate
        figures = {"answers": f"{journal.count:,}", "in flight": self._in_flight, "tok/s": f"{rate:,.0f}"}
        if tally.items:
            figures["accepted"] = f"{tally.instructions / tally.items:.0%}"
        if cost:
            figures |= {"cost": f"{cost:.2f}", "per 1,000": f"{1000 * cost / max(tally.accepted, 1):.2f}"}
        self._progress.set_postfix(figures, refresh=False)
        self._progress.update(tally.instructions - self._progress.n)

    @contextlib.asynccontextmanager
    async def live_progress(self) -> AsyncIterator[None]:
        """Update the progress bar every second too, since commits may wait long for a single slow answer."""
        refreshing = asyncio.create_task(self._refresh())
        try:
            yield
        finally:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)

    async def _refresh(self) -> None:
        before, since = await self._engine.tokens_generated(), time.monotonic()
        while True:
            await asyncio.sleep(REFRESH_S)
            now, moment = await self._engine.tokens_generated(), time.monotonic()
            # Before the first answers the count does not move for seconds; a rate of 0 would be misleading.
            if before is not None and now is not None and now > before:
                self._rate = (now - before) / (moment - since)
                before, since = now, moment
            self.show()

    def _check_replayed(self, answer: Response) -> None:
        if answer.request not in self._asked and answer.prompt_sha256:
            check_same_prompt(
                answer, self.maker.make(answer.request, self._pool_for(answer.request)), self.journal.path
            )

    def _pool_for(self, number: int) -> Sequence[tuple[str, Task]]:
        """The accepted tasks after commit `number` − window: known before the request may be asked."""
        if not self.maker.config.generate.machine_per_request or number < self._window:
            return ()
        return self.pool.accepted[: self._sizes[number - self._window]]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to wait for: the scheduler waits for the list requests."""


async def answer_to(request: GenerationRequest, engine: Engine) -> Response:
    """Send a request and return its answer as the journal stores it."""
    completion = await engine.complete(request.prompt_ids, request.sampling)
    return Response(
        request=request.number,
        text=completion.text,
        finish_reason=completion.finish_reason,
        phase=request.phase,
        key=request.key,
        prompt_sha256=request.prompt_sha256,
        sampled=request.sampled,
        prompt_tokens=completion.prompt_tokens,
        completion_tokens=completion.completion_tokens,
        seconds=round(completion.seconds, 3),
    )


def check_same_prompt(answer: Response, request: GenerationRequest, journal: Path) -> None:
    """Raises RunError if the journal's answer was given to a different prompt."""
    if answer.prompt_sha256 and answer.prompt_sha256 != request.prompt_sha256:
        raise RunError(
            f"the answer to request {answer.request} belongs to another prompt than this run would send",
            where=str(journal),
            todo="the model's tokenizer or context length, or pacos itself, has changed since: restore what it was, "
            "choose another `name`, or build a dataset from these answers with `pacos curate`",
        )
