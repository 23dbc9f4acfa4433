"""The servers of one engine: requests go to the one with the fewest in flight, and not to one that is away.

A server is away from its first failure until it lists its models again; it is asked for them after 1, 2, 4, … 30 s.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence

from pacos.errors import EngineError
from pacos.serving.client import NoAnswer
from pacos.serving.endpoint import Endpoint

log = logging.getLogger("pacos")

# Before a server that is away is asked again, by how often it has failed since it last answered.
RETURN_S = (1, 2, 4, 8, 16, 30)
# How long a request waits while all servers are away.
PATIENCE_S = 121
# A server that owes answers and has given none for so long is asked for its health.
WATCH_S = 10

# Raises NoAnswer where the server may be tried again later, EngineError where it does not fit.
Admit = Callable[[Endpoint], Awaitable[None]]


class Servers:
    """One server, which is never away, or several.

    `admit` makes a server ready for requests (checks what it serves, loads adapters), at the start and on its return.
    """

    def __init__(self, endpoints: Sequence[Endpoint], admit: Admit) -> None:
        self.all = tuple(endpoints)
        self.live = list(endpoints)
        self._admit = admit
        self._away: dict[Endpoint, str] = {}  # with the reason
        self._refused: dict[Endpoint, str] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def are_several(self) -> bool:
        """Whether a request can go to another server."""
        return len(self.all) > 1

    async def choose(self) -> Endpoint:
        """The live server with the fewest requests in flight. Raises EngineError when all stay away."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.live:
            left = deadline - time.monotonic()
            if left <= 0 or not self._away:
                raise self._all_away()
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue
        return min(self.live, key=lambda endpoint: endpoint.in_flight)

    async def open(self) -> None:
        """Admit every server that answers. Raises NoAnswer where none does, and EngineError of one that does not
        fit."""
        results = await asyncio.gather(*map(self._admit, self.all), return_exceptions=True)
        failed = {one: result for one, result in zip(self.all, results, strict=True) if result is not None}
        for result in failed.values():
            if not isinstance(result, NoAnswer):
                raise result
        if len(failed) == len(self.all):
            raise next(iter(failed.values()))
        for endpoint, failure in failed.items():
            assert isinstance(failure, NoAnswer)
            self.leave(endpoint, failure)
        if self.are_several:
            self._start(self._watch())

    def leave(self, endpoint: Endpoint, failure: NoAnswer) -> bool:
        """Note that a server failed. False if it is the only one: there is nowhere else to go."""
        if not self.are_several:
            return False
        if endpoint in self.live:
            self.live.remove(endpoint)
            endpoint.failures += 1
            self._away[endpoint] = str(failure)
            log.warning("%s is away (%s); %d of %d servers left", endpoint.url, failure, len(self.live), len(self.all))
            self._start(self._bring_back(endpoint, failure.retry_after_s))
        return True

    async def _bring_back(self, endpoint: Endpoint, wait_s: float) -> None:
        while True:
            await asyncio.sleep(max(wait_s, _wait_s(endpoint)))
            try:
                await self._admit(endpoint)
            except NoAnswer as failure:
                endpoint.failures += 1
                self._away[endpoint], wait_s = str(failure), failure.retry_after_s
                continue
            except EngineError as refused:
                log.error("%s is left out from here on: %s", endpoint.url, refused)
                self._refused[endpoint] = refused.what
                del self._away[endpoint]
            else:
                log.info("%s is back", endpoint.url)
                del self._away[endpoint]
                self.live.append(endpoint)
            self._changed.set()
            return

    async def _watch(self) -> None:
        """Notice a server that is gone without a word: its machine is off, or the network between is cut."""
        while True:
            await asyncio.sleep(WATCH_S)
            silent_since = time.monotonic() - WATCH_S
            await asyncio.gather(*(self._look_at(one) for one in self.live if _owes(one, silent_since)))

    async def _look_at(self, endpoint: Endpoint) -> None:
        if await endpoint.trouble() and (wrong := await endpoint.trouble()):
            self.leave(endpoint, NoAnswer(wrong))
            endpoint.give_up(wrong)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _all_away(self) -> EngineError:
        reasons = "; ".join(f"{one.url}: {why}" for one, why in {**self._away, **self._refused}.items())
        return EngineError(
            f"none of the {len(self.all)} servers answers: {reasons}",
            where="engine.url",
            todo="check that they run, then rerun: answered requests are kept",
        )

    async def close(self) -> None:
        """Close all connections; the servers stay as they are."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for endpoint in self.all:
            await endpoint.close()


def _owes(endpoint: Endpoint, silent_since: float) -> bool:
    return endpoint.in_flight > 0 and endpoint.heard < silent_since


def _wait_s(endpoint: Endpoint) -> int:
    return RETURN_S[min(max(endpoint.failures, 1), len(RETURN_S)) - 1]
