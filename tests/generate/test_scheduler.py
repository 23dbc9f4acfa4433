"""The scheduler alone: when requests are sent, and in which order answers are committed."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pacos.generate.scheduler import ask_ahead
from pacos.records import Response


def schedule(
    ask: Callable[[int], Any],
    *,
    requests: int,
    window: int,
    in_flight: int,
    answered: dict[int, Response] | None = None,
) -> list[int]:
    """The requests committed, in order."""
    known = answered if answered is not None else {}
    committed: list[int] = []

    def commit(answer: Response) -> bool:
        committed.append(answer.request)
        return True

    async def record(answer: Response) -> None:
        known[answer.request] = answer

    asyncio.run(
        asyncio.wait_for(
            ask_ahead(
                ask,
                answered=known,
                record=record,
                commit=commit,
                may_ask=lambda request: request < requests,
                window=window,
                in_flight=in_flight,
            ),
            timeout=20,
        )
    )
    return committed


def test_a_slow_answer_does_not_hold_the_queue() -> None:
    asked: list[int] = []
    release = asyncio.Event()

    async def ask(number: int) -> Response:
        asked.append(number)
        if len(asked) == 32:
            release.set()
        if number == 0:
            await release.wait()  # the first is answered after the 31 behind it were asked
        return Response(number, "", "stop")

    assert schedule(ask, requests=32, window=32, in_flight=4) == list(range(32))


def test_asking_never_runs_further_ahead_than_the_window() -> None:
    ahead: list[int] = []
    answered: dict[int, Response] = {}
    slow = time.monotonic() + 0.2

    async def ask(number: int) -> Response:
        ahead.append(number)
        if number == 0:
            await asyncio.sleep(slow - time.monotonic())
            assert max(ahead) == 9
        return Response(number, "", "stop")

    assert schedule(ask, requests=40, window=10, in_flight=4, answered=answered) == list(range(40))


def test_no_more_than_in_flight_are_asked_at_a_time() -> None:
    now = peak = 0

    async def ask(number: int) -> Response:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.001)
        now -= 1
        return Response(number, "", "stop")

    schedule(ask, requests=50, window=50, in_flight=6)
    assert peak == 6


def test_an_interrupt_keeps_the_answers_that_came() -> None:
    known: dict[int, Response] = {}

    async def interrupted() -> None:
        everything = asyncio.current_task()
        assert everything is not None

        async def ask(number: int) -> Response:
            if number == 3:
                await asyncio.sleep(60)
            if number == 1:
                everything.cancel()  # 0, 1 and 2 come in the same moment, before anyone could look
            return Response(number, "", "stop")

        def record(answer: Response) -> Coroutine[Any, Any, None]:
            known[answer.request] = answer
            return asyncio.sleep(0)

        await ask_ahead(
            ask,
            answered=known,
            record=record,
            commit=lambda answer: True,
            may_ask=lambda request: True,
            window=8,
            in_flight=4,
        )

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert set(known) == {0, 1, 2}
