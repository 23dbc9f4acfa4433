"""A sweep of six trainings against six runs, one after another: `python -m benchmarks.sweep [--rows 32] [--save]`.

The embedded model is tuned with three rates and two ranks on released Alpaca rows, and all results are evaluated on the
demonstration's suite by the real vLLM server:

    sweep       pacos sweep train.learning_rate=… train.lora.r=… --devices cpu,cpu, a training on each half of the cores
    runs        for each combination what `pacos run` does after generating: pacos train, evaluate, report, on all cores

Both evaluate adapters on their base's server (`evaluate.serve: adapter`), and the base with them. Timed from the shell,
start-up included; CPU seconds are those of all processes. Then some combinations are trained alone on as many cores as
in the sweep, since another number of threads rounds otherwise: the adapters must be the same bytes.
"""

import argparse
import gzip
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.alpaca import ROWS
from benchmarks.result import report
from pacos.downloads.smollm2 import FOLDER, fetch_smollm2
from pacos.files import file_sha256
from pacos.sweeps.training import CPU, environment_of

ROOT = Path(__file__).resolve().parents[1]
# The experiment itself is the combination of 2e-4 and 16.
RATES, RANKS = ("1e-4", "2e-4", "4e-4"), ("8", "16")
CHECKED = (("2e-4", "16"), ("4e-4", "8"))
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=32, help="to train on, for one epoch")
    parser.add_argument("--instances", type=int, default=1, help="of each of the suite's 40 tasks")
    parser.add_argument("--max-tokens", type=int, default=8, help="of an answer")
    parser.add_argument("--at-once", type=int, default=2, help="trials of the sweep that train at a time")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options)
    settings: dict[str, Any] = {name: value for name, value in vars(options).items() if name != "save"}
    report("sweep", figures, settings=settings | {"rates": RATES, "ranks": RANKS}, save=options.save)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    values = experiment(folder, options)
    swept = written(folder, values | {"name": "swept"})
    axes = [f"train.learning_rate={','.join(RATES)}", f"train.lora.r={','.join(RANKS)}"]
    devices = ",".join([CPU] * options.at_once)
    figures: dict[str, Any] = {"sweep": timed(["sweep", str(swept), *axes, "--devices", devices])}
    adapters = {file_sha256(path) for path in folder.glob("runs/swept/trials/*/train/adapter/*.safetensors")}
    commands = []
    for rate, rank in itertools.product(RATES, RANKS):
        config = single(folder, values, f"single-{rate}-{rank}", rate, rank)
        commands += [["train", *config], ["evaluate", *config], ["report", str(folder / "runs" / Path(config[1]).stem)]]
    figures["runs"] = timed(*commands)
    figures["times"] = {name: round(figures["runs"][name] / figures["sweep"][name], 2) for name in figures["runs"]}
    figures["load_at_the_end"] = round(os.getloadavg()[0], 1)
    share = environment_of(CPU, options.at_once)
    for rate, rank in CHECKED:
        timed(["train", *single(folder, values, f"checked-{rate}-{rank}", rate, rank)], environment=share)
    checked = {file_sha256(path) for path in folder.glob("runs/checked-*/train/adapter/*.safetensors")}
    same = len(checked) == len(CHECKED) and checked <= adapters
    return {**figures, "adapters": len(adapters), "checked": len(checked), "same_adapters": same}


def single(folder: Path, values: dict[str, Any], name: str, rate: str, rank: str) -> list[str]:
    """The arguments of a command for one combination."""
    path = written(folder, values | {"name": name})
    return ["--config", str(path), f"train.learning_rate={rate}", f"train.lora.r={rank}"]


def experiment(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    with gzip.open(ROWS, "rt", encoding="utf-8") as rows:
        (folder / "rows.jsonl").write_text("".join(itertools.islice(rows, options.rows)), encoding="utf-8")
    suite = {"name": "demo", "path": str(ROOT / "demo" / "suite"), "prompt": "alpaca"}
    return {
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(fetch_smollm2(ROOT / FOLDER))},
        "engine": {"args": {"max_model_len": 1024}},
        "train": {
            "data": [{"path": str(folder / "rows.jsonl")}],
            "epochs": 1,
            "batch_size": 16,
            "pack_tokens": 1024,
            "learning_rate": 2e-4,
            "lora": {"r": 16},
        },
        "evaluate": {
            "serve": "adapter",
            "suites": [suite | {"limit": options.instances, "max_tokens": options.max_tokens}],
        },
    }


def written(folder: Path, values: dict[str, Any]) -> Path:
    path = folder / f"{values['name']}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def timed(*commands: Sequence[str], environment: Mapping[str, str] = {}) -> dict[str, float]:
    inherited = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    before, began = cpu_of_children(), time.perf_counter()
    for command in commands:
        subprocess.run(
            [sys.executable, "-m", "pacos.cli", *command],
            cwd=ROOT, env=inherited | ENVIRONMENT | environment, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(cpu_of_children() - before, 1),
    }


def cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
