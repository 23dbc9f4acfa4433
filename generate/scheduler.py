"""Asks ahead and commits in order: however many requests are in flight, the result is that of asking one by one.

Request i may depend on what was committed up to request i − `window`, so asking is at most `window` requests ahead of
the commits. A slow answer holds up the commits after it but not the other requests, as long as the window is several
times the number in flight (8 times is enough).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from pacos.records import Response


async def ask_ahead(
    ask: Callable[[int], Awaitable[Response]],
    *,
    answered: Mapping[int, Response],
    record: Callable[[Response], Awaitable[None]],
    commit: Callable[[Response], bool],
    may_ask: Callable[[int], bool],
    window: int,
    in_flight: int,
) -> None:
    """Run until `commit` returns False, or until `may_ask` allows no further request and all answers are committed.

    `record` stores an answer when it is called; awaited, it adds the answer to `answered`. `commit` gets the answers in
    the order of their requests, from 0 on. Requests in `answered` are not sent again. Every answer that came is
    recorded, even when another request fails or the run is interrupted.
    """
    committed = asked = 0
    pending: set[asyncio.Task[Response]] = set()
    try:
        while True:
            if committed in answered:
                if not commit(answered[committed]):
                    return
                committed += 1
            while asked < committed + window and (asked in answered or (len(pending) < in_flight and may_ask(asked))):
                if asked not in answered:
                    pending.add(asyncio.ensure_future(ask(asked)))
                asked += 1
            more_to_commit = committed in answered
            if not pending and not more_to_commit:
                return
            if pending:
                # While commits are waiting, do not block on answers: the engine must not run out of requests.
                done, pending = await asyncio.wait(
                    pending, timeout=0 if more_to_commit else None, return_when=asyncio.FIRST_COMPLETED
                )
                await _record_all(done, record)
    finally:
        for task in pending:
            task.cancel()
        await asyncio.gather(*pending, return_exceptions=True)
        await _record_all({task for task in pending if not task.cancelled() and not task.exception()}, record)


async def _record_all(done: set[asyncio.Task[Response]], record: Callable[[Response], Awaitable[None]]) -> None:
    """Record the answers in `done`, then raise its first failure, if any."""
    failures = [failure for task in done if (failure := task.exception())]
    await asyncio.gather(*[record(task.result()) for task in done if not task.exception()])
    if failures:
        raise failures[0]
