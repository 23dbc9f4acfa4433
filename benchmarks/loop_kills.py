"""kill -9 at random moments of a self-rewarding loop: does it give the same tasks, answers, pairs and models?

Real commands and the real trainer, on a random Llama of two layers; a scripted server replaces the engine, because the
comparison needs one that repeats itself. `python -m benchmarks.loop_kills [--save]`.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.result import report
from pacos.config import Config, with_values
from tests.support.killed_run import ROOT
from tests.support.looped_run import Model, command, derived, experiment, kill_after
from tests.support.scripted_server import ScriptedServer
from tests.support.tiny_llama import build_tiny_llama

DELAY_S = 0.05  # of an answer, so that kills fall between answers too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.kills, options.rounds, Random(options.seed))
    settings = {name: value for name, value in vars(options).items() if name != "save"}
    report("loop_kills", figures, settings=settings, save=options.save)


def measure(folder: Path, kills: int, rounds: int, draw: Random) -> dict[str, Any]:
    base = build_tiny_llama(folder / "base")
    with ScriptedServer(answer=Model(base), delay=lambda prompt: DELAY_S) as server:
        whole, killed = (_of(folder, base, server.url, name, rounds) for name in ("whole", "killed"))
        began = time.monotonic()
        subprocess.run(command(whole, folder), cwd=ROOT, check=True)
        seconds = time.monotonic() - began
        asked_once = len(server.asked)
        moments = []
        while len(moments) < kills:
            moment = draw.uniform(0.02, 2 / kills) * seconds
            if not kill_after(moment, command(killed, folder)):
                break
            moments.append(round(moment, 1))
        subprocess.run(command(killed, folder), cwd=ROOT, check=True)
        asked = len(server.asked) - asked_once
    same = dict(derived(whole))
    differing = [name for name, content in derived(killed) if content != same[name]]
    return {
        "kills": len(moments),
        "seconds_before_each_kill": moments,
        "files_compared": len(same),
        "files_that_differ": differing,
        "requests": asked_once,
        "requests_with_kills": asked,
    }


def _of(folder: Path, base: Path, url: str, name: str, rounds: int) -> Config:
    config = experiment(folder, base, url, name=name)
    return with_values(config, {"loop.rounds": rounds})


if __name__ == "__main__":
    main()
