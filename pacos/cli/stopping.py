"""Ends a command on SIGTERM and SIGHUP as on Ctrl-C."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from types import FrameType

# A closing terminal and a service manager send several signals at once; they are one.
TOGETHER_S = 1.0


class Stopped(BaseException):
    """The command was interrupted."""


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[list[signal.Signals]]:
    """Have SIGTERM and SIGHUP do what Ctrl-C does; yields a list that gets those that came.

    A SIGHUP that is ignored, by `nohup` for one, stays ignored.
    """
    received: list[signal.Signals] = []
    last = -math.inf

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        last, before_that = time.monotonic(), last
        received.append(signal.Signals(number))
        if last - before_that < TOGETHER_S:
            return
        if callable(signal.getsignal(signal.SIGINT)):
            signal.raise_signal(signal.SIGINT)  # asyncio and uvicorn have handlers of their own
        else:
            raise KeyboardInterrupt

    before = {
        each: handler
        for each in (signal.SIGTERM, signal.SIGHUP)
        if (handler := signal.getsignal(each)) != signal.SIG_IGN
    }
    for each in before:
        signal.signal(each, stop)
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
