"""The real command, killed by kill -9 while it sends requests to a scripted server."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import yaml

from pacos.config import Config
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[2]
PACOS = "import sys; from pacos.cli import main; sys.exit(main())"


def generate_command(config: Config, folder: Path) -> list[str]:
    """`pacos generate` for an experiment, whose YAML is written into `folder`."""
    file = folder / f"{config.name}.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return [sys.executable, "-c", PACOS, "generate", "--config", str(file)]


def run_until_arrival(command: list[str], server: ScriptedServer, arrivals: int, patience_s: float = 60) -> None:
    """Start the command and kill -9 it when `arrivals` more requests have arrived."""
    killed = threading.Event()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kill_at = len(server.asked) + arrivals

    def kill(arrival: int) -> None:
        if arrival == kill_at:
            os.kill(process.pid, signal.SIGKILL)
            killed.set()

    server.on_arrival = kill
    assert killed.wait(patience_s)
    process.wait()
    server.on_arrival = lambda arrival: None
