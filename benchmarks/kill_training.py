"""kill -9 at random moments of a training run, also inside a save: does it resume to the same losses?

One run is killed again and again, then left to finish; another is never killed. Losses, gradient norms and the adapter
must be equal to the bit. A third of the kills come while a checkpoint is being written.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.result import report
from pacos.config import Config, resolved_yaml
from pacos.files import file_sha256
from tests.support.small_training import training_config, write_tasks
from tests.support.tiny_llama import build_tiny_llama

STEPS = 300
SAVE_STEPS = 3
PATIENCE = 180.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.kills, Random(options.seed))
    report("kill_training", figures, settings={"kills": options.kills, "seed": options.seed}, save=options.save)


def measure(folder: Path, kills: int, draw: Random) -> dict[str, Any]:
    base, tasks = build_tiny_llama(folder / "base"), write_tasks(folder / "tasks.jsonl", 400)
    settings = {"epochs": 99, "max_steps": STEPS, "save_steps": SAVE_STEPS, "lora": {"r": 8, "dropout": 0.1}}
    whole, killed = (training_config(folder, base, tasks, name, **settings) for name in ("whole", "killed"))
    finish(whole)
    steps_at_kill, in_a_save, restarts_from = [], 0, []
    for number in range(kills):
        restarts_from.append(last_checkpoint(killed))
        inside = number % 3 == 0
        in_a_save += run_and_kill(killed, writing(killed) if inside else after(killed, draw))
        steps_at_kill.append(len(lines(killed)))
    finish(killed)
    return {
        "kills": kills,
        "kills_inside_a_save": in_a_save,
        "steps_at_each_kill": steps_at_kill,
        "went_on_from": restarts_from,
        "steps": len(lines(killed)),
        "losses_bit_equal": curve(killed) == curve(whole),
        "adapter_bit_equal": adapter(killed) == adapter(whole),
    }


def start(config: Config) -> "subprocess.Popen[bytes]":
    """What `accelerate launch` starts on one device."""
    path = Path(config.runs_dir) / f"{config.name}.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(resolved_yaml(config), encoding="utf-8")
    command = [sys.executable, "-m", "pacos.train", "--config", str(path)]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true"}
    with open(path.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)


def finish(config: Config) -> None:
    if code := start(config).wait(timeout=600):
        sys.exit(f"training ended with {code}:\n" + (Path(config.runs_dir) / f"{config.name}.log").read_text()[-2000:])


def run_and_kill(config: Config, moment: Callable[[], bool]) -> bool:
    """Kill a run at `moment`; whether a checkpoint was half written then. Exits where it ended by itself first."""
    process = start(config)
    end = time.monotonic() + PATIENCE
    while not moment():
        if process.poll() is not None or time.monotonic() > end:
            sys.exit(f"the run ended ({process.poll()}) or stood still before it could be killed")
        time.sleep(0.0005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return any(checkpoints(config).glob(".step-*.new"))


def writing(config: Config) -> Callable[[], bool]:
    """A checkpoint that was not there when the run started has begun."""
    left = {path.stat().st_ctime_ns for path in checkpoints(config).glob(".step-*.new")}
    return lambda: any(_changed_at(path) not in left | {0} for path in checkpoints(config).glob(".step-*.new"))


def after(config: Config, draw: Random) -> Callable[[], bool]:
    """Up to 8 steps further than the checkpoint, and up to 50 ms; one in five while it still starts."""
    if draw.random() < 0.2:
        until = time.monotonic() + draw.uniform(0.0, 5.0)
        return lambda: time.monotonic() > until
    wanted, pause = last_checkpoint(config) + draw.randint(1, 8), draw.uniform(0.0, 0.05)
    reached: list[float] = []

    def moment() -> bool:
        if not reached and len(lines(config)) >= wanted and last_checkpoint(config) >= wanted - 8:
            reached.append(time.monotonic())
        return bool(reached) and time.monotonic() > reached[0] + pause

    return moment


def checkpoints(config: Config) -> Path:
    return config.run_dir / "train" / "checkpoints"


def last_checkpoint(config: Config) -> int:
    return max((int(path.name.removeprefix("step-")) for path in checkpoints(config).glob("step-*")), default=0)


def lines(config: Config) -> list[dict[str, Any]]:
    """Whole lines of metrics.jsonl; a torn last one is none."""
    path = config.run_dir / "train" / "metrics.jsonl"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def curve(config: Config) -> list[tuple[int, float, float]]:
    return [(line["step"], line["loss"], line["grad_norm"]) for line in lines(config)]


def adapter(config: Config) -> str:
    return file_sha256(config.run_dir / "train" / "adapter" / "adapter_model.safetensors")


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_ctime_ns
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
