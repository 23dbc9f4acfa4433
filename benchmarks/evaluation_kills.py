"""kill -9 of `pacos evaluate` at random moments: `python -m benchmarks.evaluation_kills [--kills 10] [--save]`.

The real command runs against a deterministic server (tests/support/scripted_server.py). One evaluation is killed
repeatedly, then left to finish. Its scores must equal those of an evaluation that was never killed, and no prompt
whose answer was in `predictions.jsonl` may be asked again.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from benchmarks.result import report
from pacos.config import ModelConfig
from pacos.evaluate.prompts import fit_prompts
from pacos.models import load_tokenizer
from pacos.records import Prediction, read_records
from pacos.superni.prompts import prompt_preset
from pacos.superni.suites import read_suite
from tests.support.scripted_server import ScriptedServer
from tests.support.superni_folder import instances, write_superni
from tests.support.tiny_llama import build_tiny_llama

WORKER = "import sys; from pacos.cli import main; sys.exit(main())"
ANSWER_S = 0.1
TASKS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--instances", type=int, default=40, help=f"of each of {TASKS} tasks")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.kills, options.instances, options.in_flight, options.seed)
    settings = {name: value for name, value in vars(options).items() if name != "save"}
    report("evaluation_kills", figures, settings=settings, save=options.save)


def measure(folder: Path, kills: int, per_task: int, in_flight: int, seed: int) -> dict[str, Any]:
    base = build_tiny_llama(folder / "base")
    tasks = {
        f"task{number}_x": {"Instances": instances(f"t{number}", per_task), "Definition": [f"Colour {number}?"]}
        for number in range(TASKS)
    }
    suite = write_superni(folder / "superni", tasks)
    questions = questions_by_prompt(base, suite)
    draw = random.Random(seed)
    with ScriptedServer(answer=colour, delay=lambda prompt: ANSWER_S) as server:
        whole = write_experiment(folder, "whole", base, suite, server, in_flight)
        finish(start(whole))
        asked = len(server.asked)
        killed = write_experiment(folder, "killed", base, suite, server, in_flight)
        again, at = 0, []
        for number in range(kills + 1):
            before, since = answered(killed), len(server.asked)
            if number < kills:
                kill_one(killed, server, draw.randint(1, asked // kills), draw.uniform(0, 0.05))
                at.append(len(answered(killed)))
            else:
                finish(start(killed))
            again += len(before & {questions[prompt] for prompt in server.asked[since:]})
    return {
        "kills": kills,
        "answers_at_each_kill": at,
        "answers": asked,
        "answered_prompts_asked_again": again,
        "same_scores": scores(whole) == scores(killed),
    }


def colour(prompt: tuple[int, ...], seed: int | None) -> tuple[str, str]:
    return ("red", "green", "blue", "no colour at all")[sum(prompt) % 4], "stop"


def questions_by_prompt(base: Path, suite: Path) -> dict[tuple[int, ...], tuple[str, str]]:
    """{prompt as token ids: (task, instance)}"""
    tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))
    asked = read_suite(suite).instances
    prompts = fit_prompts(tokenizer, prompt_preset("alpaca"), asked, 2000)
    return {tuple(prompt.ids): (one.task, one.id) for prompt, one in zip(prompts, asked, strict=True)}


def write_experiment(folder: Path, name: str, base: Path, suite: Path, server: ScriptedServer, in_flight: int) -> Path:
    values = {
        "name": name,
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(base), "dtype": "float32"},
        "engine": {"url": server.url, "max_in_flight": in_flight},
        "evaluate": {"suites": [{"name": "colours", "path": str(suite)}]},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def start(experiment: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, "evaluate", "--config", str(experiment)]
    return subprocess.Popen(command, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=300)
    if process.returncode > 0:
        raise RuntimeError(errors)


def kill_one(experiment: Path, server: ScriptedServer, arrivals: int, pause: float) -> None:
    """Kill the command `pause` seconds after so many of its requests have arrived."""
    reached = threading.Event()
    kill_at = len(server.asked) + arrivals
    server.on_arrival = lambda arrival: reached.set() if arrival >= kill_at else None
    process = start(experiment)
    reached.wait(120)
    time.sleep(pause)
    process.kill()
    finish(process)


def predictions_of(experiment: Path) -> Path:
    return experiment.parent / "runs" / experiment.stem / "eval" / "base" / "predictions.jsonl"


def answered(experiment: Path) -> set[tuple[str, str]]:
    """A torn last line counts as never answered."""
    path = predictions_of(experiment)
    rows = read_records(path, Prediction, torn_tail=True) if path.is_file() else []
    return {(row.task, row.instance) for row in rows}


def scores(experiment: Path) -> Any:
    return json.loads((predictions_of(experiment).parent / "scores.json").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
