"""A pacos command in a process of its own, sent a signal at some moment; what of it is left is looked for."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from tests.support.killed_run import ROOT

PATIENCE_S = 120.0


class StoppedCommand:
    """`pacos` with some words, its output in a file."""

    def __init__(self, words: Sequence[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pacos.cli", *words],
                cwd=ROOT,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
            )

    def said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def stop(self, number: signal.Signals, when: Callable[[], bool]) -> list[psutil.Process]:
        """Send the signal once `when` holds and wait for the end; return what goes on of all that was started."""
        self.wait(when)
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(number)
        self.process.wait(PATIENCE_S)
        return psutil.wait_procs(family, timeout=30)[1]

    def wait(self, when: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not when():
            assert self.process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.05)

    def __enter__(self) -> "StoppedCommand":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
