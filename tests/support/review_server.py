"""`pacos review` as a process of its own, for tests that look at it through a browser and kill it."""

import re
import subprocess
import sys
from pathlib import Path

from tests.support.devtools import wait


class ReviewServer:
    """Started, and its address read from what it printed."""

    def __init__(self, *arguments: str, log: Path) -> None:
        with log.open("wb") as output:
            command = [sys.executable, "-m", "pacos.cli", "review", *arguments]
            self.process = subprocess.Popen(command, stdout=output, stderr=output)

        def said() -> str:
            assert self.process.poll() is None, log.read_text(encoding="utf-8")
            return log.read_text(encoding="utf-8")

        wait(lambda: "Ctrl-C" in said(), "pacos review prints its address")
        found = re.search(r"open (http://\S+)", said())
        assert found
        self.address = found[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(timeout=60)
