"""What the crash benchmarks share: a small experiment, the real command line, and the files that a run left."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pacos.generate.journal import read_responses
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[1]
DERIVED = ("dataset.jsonl", "rejected.jsonl", "alpaca_data.json")
WORKER = "import sys; from pacos.cli import main; sys.exit(main())"


def write_seeds(path: Path, count: int = 40) -> Path:
    """Short seed tasks, so that three of them leave a small context room for an answer."""
    rows = [
        {
            "id": f"seed_task_{number}",
            "name": f"seed_{number}",
            "instruction": f"Say the number {number} aloud.",
            "instances": [{"input": "", "output": str(number)}],
            "is_classification": False,
        }
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_experiment(folder: Path, name: str, *, base: Path, engine: dict[str, Any], **generate: Any) -> Path:
    """The YAML of an experiment whose run directory is `folder`/runs/`name`."""
    values = {
        "name": name,
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(base), "dtype": "float32"},
        "engine": engine,
        "generate": generate,
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def run_of(experiment: Path) -> Path:
    return experiment.parent / "runs" / experiment.stem


def dataset_of(experiment: Path) -> Path:
    return run_of(experiment) / "dataset"


def start(experiment: Path) -> subprocess.Popen[str]:
    """Start `pacos generate` as a user does."""
    command = [sys.executable, "-c", WORKER, "generate", "--config", str(experiment)]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def finish(process: subprocess.Popen[str], *, limit_s: float = 300) -> tuple[int, str]:
    """Exit status and what the command wrote to stderr."""
    _, errors = process.communicate(timeout=limit_s)
    return process.returncode, errors


def run_whole(experiment: Path) -> dict[str, bytes]:
    """Run to the end; the dataset's bytes. Raises RuntimeError with the command's own message if it fails."""
    status, errors = finish(start(experiment))
    if status:
        raise RuntimeError(errors)
    return derived(experiment)


def derived(experiment: Path) -> dict[str, bytes]:
    return {name: (dataset_of(experiment) / name).read_bytes() for name in DERIVED}


def answered(experiment: Path) -> dict[int, str]:
    """The journal's answers by request; an unfinished last line counts as unanswered."""
    journal = dataset_of(experiment) / "responses.jsonl"
    return {number: answer.text for number, answer in read_responses(journal).items()} if journal.exists() else {}


def requests_asked(server: ScriptedServer, since: int) -> set[int]:
    """Numbers of the requests that arrived; `generate.sampling.seed: 0` makes request i send seed i."""
    return {int(body["seed"]) for body in server.bodies[since:]}
