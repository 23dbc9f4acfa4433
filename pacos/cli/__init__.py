"""The `pacos` command. Stages are imported inside the commands, so that `pacos --help` answers at once.

The commands themselves are imported once a signal can be answered: whoever presses Ctrl-C early sees one line, too.
"""

import contextlib
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any

from pacos.errors import PacosError

if TYPE_CHECKING:
    from pacos.cli.commands import app as app

# A closing terminal and a service manager send several signals at once; they are one.
TOGETHER_S = 1.0


class Stopped(BaseException):
    """The command was interrupted."""


def __getattr__(name: str) -> Any:
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from pacos.cli.commands import app

    return app


def main() -> None:
    """Run the command line: an error that a user can fix is one message and exit code 2, any other a traceback.

    SIGTERM and SIGHUP end a command as Ctrl-C does: what it started is stopped, and the exit code is 128 + the signal.
    """
    log = logging.getLogger("pacos")
    log.setLevel(logging.INFO)
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("pacos: %(message)s"))
    log.addHandler(console)
    try:
        with stopped_by_signals() as received:
            from pacos.cli.commands import app

            app()
    except PacosError as error:
        print(f"pacos: {error}", file=sys.stderr)
        sys.exit(2)
    except (Stopped, KeyboardInterrupt):
        from pacos.serving import guard

        if guard.MARK not in os.environ:  # a command of the loop, which says it itself
            print("pacos: stopped; rerun the same command to resume", file=sys.stderr)
        sys.exit(128 + (received or [signal.SIGINT])[0])
    finally:
        log.removeHandler(console)


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
