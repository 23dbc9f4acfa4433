"""Commands stopped by signals at random moments: does anything go on, is anything locked, is the result the same?

    python -m benchmarks.stops [--moments 20] [--commands generate train …] [--save]

Each command runs once undisturbed, then again and again in another run directory, stopped by SIGINT, SIGTERM, SIGHUP
and kill -9 in turn, at a moment drawn from the time that the first took; at last it is left to finish. Everything
started carries a mark in its environment, by which what goes on is found. Real commands and the real trainer, on a
random Llama of two layers; a scripted server replaces the engine, because the comparison needs one that repeats itself.
"""

import argparse
import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psutil
import yaml

from benchmarks.generation_runs import write_seeds
from benchmarks.result import report
from pacos.config import SuiteConfig, with_values
from pacos.files import write_jsonl
from tests.support import generated_run, looped_run
from tests.support.killed_run import ROOT
from tests.support.scripted_server import ScriptedServer
from tests.support.small_training import training_config, write_tasks
from tests.support.superni_folder import instances, write_superni
from tests.support.tiny_llama import build_tiny_llama

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
MARK = "PACOS_STOPS_BENCHMARK"
ANSWER_S = 0.05
# A stopped server or trainer may take 10 s (see guard.GRACE_S), and more on a busy machine.
PATIENCE_S = 180.0
REVIEW_S = 15.0  # a review does not end by itself
RESULTS = {
    "generate": ("dataset/dataset.jsonl", "dataset/rejected.jsonl"),
    "train": ("train/adapter/adapter_model.safetensors",),
    "evaluate": ("eval/base/scores.json",),
    "judge": ("judge/additive--answers/results.json",),
    "loop": ("round-1/pairs/pairs.jsonl", "round-1/train/adapter/adapter_model.safetensors"),
    "review": (),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A command and the files, below its run directory, that it makes."""

    words: list[str]
    home: Path
    results: tuple[str, ...]

    def digests(self) -> dict[str, str]:
        return {name: hashlib.sha256((self.home / name).read_bytes()).hexdigest()[:16] for name in self.results}

    def locks(self) -> Iterator[Path]:
        yield from self.home.rglob(".lock")
        yield from self.home.rglob(".loop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--commands", nargs="+", default=list(RESULTS), choices=list(RESULTS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    # In a shell's background, and by `nohup`, the commands would be started ignoring them.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.commands, options.moments, options.seed)
    settings = {name: value for name, value in vars(options).items() if name != "save"}
    report("stops", figures, settings=settings, save=options.save)


def measure(folder: Path, commands: list[str], moments: int, seed: int) -> dict[str, Any]:
    base = build_tiny_llama(folder / "base")
    figures = {}
    with ScriptedServer(answer=looped_run.Model(base), delay=lambda prompt: ANSWER_S) as server:
        for command in commands:
            whole, stopped = (case(command, folder, base, server.url, name) for name in ("whole", "stopped"))
            figures[command] = stop_again_and_again(whole, stopped, moments, Random(f"{seed}:{command}"), folder)
            print(command, figures[command], file=sys.stderr)
    return figures


def stop_again_and_again(whole: Case, stopped: Case, moments: int, draw: Random, folder: Path) -> dict[str, Any]:
    mark, log = f"{draw.getrandbits(64):016x}-{os.getpid()}", folder / "log"
    ends_by_itself = bool(whole.results)
    seconds = run_whole(whole, mark, log) if ends_by_itself else REVIEW_S
    counts = {"stopped": 0, "left_running": 0, "left_locked": 0, "tracebacks": 0, "other_exit_codes": 0, "differing": 0}
    while counts["stopped"] < moments:
        number = SIGNALS[counts["stopped"] % len(SIGNALS)]
        process, began = start(stopped, mark, log), time.monotonic()
        time.sleep(draw.uniform(0.0, seconds))
        if process.poll() is not None:
            seconds = min(seconds, 0.9 * (time.monotonic() - began))
        else:
            process.send_signal(number)
            code = process.wait(PATIENCE_S)
            said = log.read_text(encoding="utf-8", errors="replace")
            counts["stopped"] += 1
            counts["tracebacks"] += "Traceback" in said
            if code not in (128 + number, -number, 0):
                counts["other_exit_codes"] += 1
                print(f"exit code {code} after {number.name}:\n{said[-2000:]}", file=sys.stderr)
            counts["left_running"] += len(left_running(mark))
            counts["left_locked"] += sum(is_locked(lock) for lock in stopped.locks())
        if ends_by_itself and (process.returncode == 0 or counts["stopped"] == moments):
            run_whole(stopped, mark, log)
            counts["differing"] += stopped.digests() != whole.digests()
            shutil.rmtree(stopped.home)
    return counts


def run_whole(chosen: Case, mark: str, log: Path) -> float:
    """Run to the end; returns seconds."""
    began = time.monotonic()
    if start(chosen, mark, log).wait(3600):
        raise RuntimeError(log.read_text(encoding="utf-8", errors="replace"))
    return time.monotonic() - began


def start(chosen: Case, mark: str, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "pacos.cli", *chosen.words],
            cwd=ROOT,
            env=os.environ | {MARK: mark, "PYTHONPATH": str(ROOT)},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def left_running(mark: str) -> list[psutil.Process]:
    """Processes that still carry the mark after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while (found := [process for process in psutil.process_iter() if _carries(process, mark)]) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.1)
    return found


def _carries(process: psutil.Process, mark: str) -> bool:
    try:
        return process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, OSError):
        return False


def is_locked(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def case(command: str, folder: Path, base: Path, url: str, name: str) -> Case:
    """The command in a run directory of this name."""
    if command == "review":
        home = folder / f"review-{name}"
        tasks = write_tasks(folder / "review.jsonl", 20)
        return Case(["review", str(tasks), "--kind", "quality", "--out", str(home)], home, ())
    words, name = [command], f"{command}-{name}"
    config = looped_run.experiment(folder, base, url, name=name)
    if command == "generate":
        config = generated_run.experiment(folder, base, url, write_seeds(folder / "seeds.jsonl"), name=name, target=400)
    if command == "train":
        tasks = write_tasks(folder / "train.jsonl", 40)
        config = training_config(folder, base, tasks, name, epochs=60, save_steps=10)
    if command == "evaluate":
        suite = write_superni(
            folder / "superni", {f"task{number}_x": {"Instances": instances(f"t{number}", 60)} for number in range(8)}
        )
        config = with_values(config, {"evaluate.suites": [SuiteConfig(name="small", path=str(suite), max_tokens=16)]})
    if command == "judge":
        rows = [{"id": f"q{n}", "model": "m", "instruction": f"Question {n}.", "output": "no"} for n in range(400)]
        write_jsonl(folder / "answers.jsonl", rows)
        words += ["--kind", "additive", "--answers", str(folder / "answers.jsonl")]
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return Case([*words, "--config", str(file)], config.run_dir, RESULTS[command])


if __name__ == "__main__":
    main()
