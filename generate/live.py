"""Figures that move while answers are still being written: commits wait for request 0, and people do not know that."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from pacos.generate.session import Session
from pacos.serving.engine import Engine

EVERY_S = 1.0


@contextlib.asynccontextmanager
async def live_figures(session: Session, engine: Engine) -> AsyncIterator[None]:
    """Refresh the session's progress bar every second, with the engine's own token rate where it tells it."""
    ticking = asyncio.create_task(_tick(session, engine))
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.gather(ticking, return_exceptions=True)


async def _tick(session: Session, engine: Engine) -> None:
    before, since = await engine.tokens_generated(), time.monotonic()
    while True:
        await asyncio.sleep(EVERY_S)
        now, moment = await engine.tokens_generated(), time.monotonic()
        # Before the first answers the count stands still for seconds: a rate of 0 would say less than none.
        if before is not None and now is not None and now > before:
            session.rate = (now - before) / (moment - since)
            before, since = now, moment
        session.show()
