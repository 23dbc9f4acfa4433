"""How busy ordered commits leave the engine: `python -m benchmarks.scheduler [--requests 20000] [--save]`.

The real scheduler, on a clock that jumps to the next event instead of waiting. Each request occupies one of the
engine's slots in proportion to its answer's length; lengths are log-normal around 1,500 tokens, cut at 3,072, and one
answer in twenty reaches that limit, as with base models that repeat themselves. A commit keeps the client busy for a
given time, in which nothing is sent. Busy is the share of the slots' time that was spent on answers, without the drain.
"""

import argparse
import asyncio
import selectors
from random import Random
from typing import Any

from benchmarks.result import report
from pacos.generate.scheduler import ask_ahead
from pacos.records import Response

MEAN, LIMIT, AT_LIMIT = 1_500, 3_072, 0.05
TOKENS_PER_SECOND = 40.0  # of one slot
WINDOWS = (1, 2, 4, 8, 16)
COMMIT_SECONDS = (0.0, 0.01, 0.1)


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock is moved on by its waits, and by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_JumpingSelector(self))

    def time(self) -> float:
        return self.now


class _JumpingSelector(selectors.SelectSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        self._loop.now += timeout or 0.0
        return super().select(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures = {
        f"window_{times}_x_in_flight": {
            f"commit_{round(1000 * commit_s)}_ms": busy(options.requests, options.in_flight, times, commit_s)
            for commit_s in COMMIT_SECONDS
        }
        for times in WINDOWS
    }
    settings = {"requests": options.requests, "in_flight": options.in_flight}
    report("scheduler", figures, settings=settings, save=options.save)


def busy(requests: int, in_flight: int, times: int, commit_s: float) -> float:
    """Share of the slots' time spent on answers up to the last request's start."""
    loop, draw = JumpingLoop(), Random(0)
    seconds = [_length(draw) / TOKENS_PER_SECOND for _ in range(requests)]
    starts: list[float] = []
    answered: dict[int, Response] = {}

    async def ask(number: int) -> Response:
        starts.append(loop.time())
        await asyncio.sleep(seconds[number])
        return Response(number, "", "stop")

    async def record(answer: Response) -> None:
        answered[answer.request] = answer

    def commit(answer: Response) -> bool:
        loop.now += commit_s
        return True

    loop.run_until_complete(
        ask_ahead(
            ask,
            answered=answered,
            record=record,
            commit=commit,
            may_ask=lambda number: number < requests,
            window=times * in_flight,
            in_flight=in_flight,
        )
    )
    loop.close()
    last = starts[-1]
    worked = sum(min(last, start + length) - start for start, length in zip(starts, seconds, strict=True))
    return round(worked / (in_flight * last), 4)


def _length(draw: Random) -> float:
    return LIMIT if draw.random() < AT_LIMIT else min(LIMIT, MEAN * draw.lognormvariate(0.0, 0.5))


if __name__ == "__main__":
    main()
