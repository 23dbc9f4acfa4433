"""Ends a command on SIGTERM and SIGHUP as on Ctrl-C."""

import contextlib
import math
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

# A closing terminal and a service manager send several signals at once; they are one.
TOGETHER_S = 1.0

# After an interrupt is lost, the next try.
AGAIN_S = 0.05


class Stopped(BaseException):
    """The command was interrupted."""


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[list[signal.Signals]]:
    """Have SIGTERM and SIGHUP do what Ctrl-C does; yields a list that gets those that came.

    A SIGHUP that is ignored, by `nohup` for one, stays ignored. An interrupt that Python loses, because it comes while
    a finalizer or a weak reference's callback runs (as at every import), is raised again.
    """
    received: list[signal.Signals] = []
    last = -math.inf

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal last
        last, before_that = time.monotonic(), last
        received.append(signal.Signals(number))
        if last - before_that >= TOGETHER_S:
            _interrupt()

    before = {
        each: handler
        for each in (signal.SIGTERM, signal.SIGHUP)
        if (handler := signal.getsignal(each)) != signal.SIG_IGN
    }
    for each in before:
        signal.signal(each, stop)
    try:
        with _lost_interrupts_raised_again():
            yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextlib.contextmanager
def _lost_interrupts_raised_again() -> Iterator[None]:
    report = sys.unraisablehook

    def lost(unraisable: "UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            # Not at once: raised in here it would be lost again.
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            report(unraisable)

    alarm = signal.signal(signal.SIGALRM, lambda *_: _interrupt())
    sys.unraisablehook = lost
    try:
        yield
    finally:
        sys.unraisablehook = report
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, alarm)


def _interrupt() -> None:
    if callable(signal.getsignal(signal.SIGINT)):
        signal.raise_signal(signal.SIGINT)  # asyncio and uvicorn have handlers of their own
    else:
        raise KeyboardInterrupt
