"""What several adapters on one engine save: `python -m benchmarks.adapters [--lm-eval PYTHON] [--save]`.

One small Llama (the demonstration's shape, random weights) and four random adapters of it answer the 32 real SuperNI
tasks, 20 instances each. Timed from the shell, start-up and all:

    together    pacos evaluate with the four adapters
    singly      pacos evaluate four times, one adapter more each time, the base answered once
    lm_eval     lm-evaluation-harness with its vLLM backend four times, on the task folder that `pacos export` writes

`--lm-eval` is the Python of an environment that has lm_eval beside this repository's packages; see README.md there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks.result import SHARED_DATA, report
from tests.tiny_llama import write_adapter

ADAPTERS, ADAPTER_SCALE = 4, 0.05
CONTEXT = 2048
WORKER = "import sys; from pacos.cli import main; sys.exit(main())"
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=20, help="of each task")
    parser.add_argument("--max-tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--lm-eval", type=Path, help="Python of an environment with lm_eval; left out unless given")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.instances, options.max_tokens, options.lm_eval)
    settings = {"adapters": ADAPTERS, "instances": options.instances, "max_tokens": options.max_tokens}
    report("adapters", figures, settings=settings, save=options.save)


def measure(folder: Path, instances: int, max_tokens: int, lm_eval: Path | None) -> dict[str, Any]:
    base = build_base(folder / "base")
    adapters = {
        f"adapter-{seed}": write_adapter(base, folder / f"adapter-{seed}", ADAPTER_SCALE, seed)
        for seed in range(ADAPTERS)
    }
    suite = {"name": "superni", "path": str(SHARED_DATA / "superni"), "prompt": "tk-instruct:def"}
    suite |= {"limit": instances, "max_tokens": max_tokens}
    together = write_experiment(folder, "together", base, suite)
    singly = write_experiment(folder, "singly", base, suite)
    figures: dict[str, Any] = {"together_s": evaluate(together, adapters)}
    figures["singly_s"] = round(sum(evaluate(singly, {name: path}) for name, path in adapters.items()), 1)
    figures["times_singly"] = round(figures["singly_s"] / figures["together_s"], 2)
    figures["same_scores"] = scores(together, adapters) == scores(singly, adapters)
    if lm_eval:
        theirs = [run_lm_eval(lm_eval, folder, together, base, path) for path in adapters.values()]
        figures["lm_eval_s"] = round(sum(seconds for seconds, _ in theirs), 1)
        figures["times_lm_eval"] = round(figures["lm_eval_s"] / figures["together_s"], 2)
        figures["rougeL_of_lm_eval"] = [round(rouge, 4) for _, rouge in theirs]
        figures["rougeL"] = scores(together, adapters)
    return figures


def build_base(folder: Path) -> Path:
    import torch

    from demo.model import new_model
    from demo.tokenizer import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer(0)
    new_model(tokenizer).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_experiment(folder: Path, name: str, base: Path, suite: dict[str, Any]) -> Path:
    values = {
        "name": name,
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(base), "dtype": "float32"},
        "engine": {"args": {"max_model_len": CONTEXT}},
        "evaluate": {"suites": [suite]},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def evaluate(experiment: Path, adapters: dict[str, Path]) -> float:
    """Seconds of `pacos evaluate`."""
    given = [word for name, path in adapters.items() for word in ("--adapter", f"{name}={path}")]
    return timed([sys.executable, "-c", WORKER, "evaluate", "--config", str(experiment), *given])


def timed(command: Sequence[str]) -> float:
    began = time.perf_counter()
    ended = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr[-3000:])
    return round(time.perf_counter() - began, 1)


def scores(experiment: Path, adapters: dict[str, Path]) -> list[float]:
    folder = experiment.parent / "runs" / experiment.stem / "eval"
    return [json.loads((folder / name / "scores.json").read_text(encoding="utf-8"))["rougeL"] for name in adapters]


def run_lm_eval(python: Path, folder: Path, experiment: Path, base: Path, adapter: Path) -> tuple[float, float]:
    """(seconds, ROUGE-L) of one adapter."""
    tasks, out = folder / "tasks", folder / "lm_eval" / adapter.name
    if not tasks.exists():
        timed([sys.executable, "-c", WORKER, "export", "--config", str(experiment), "--out", str(tasks)])
    model = f"pretrained={base},lora_local_path={adapter},dtype=float32,add_bos_token=True,max_model_len={CONTEXT}"
    model += f",enable_lora=True,max_lora_rank=8,enable_chunked_prefill=False,max_num_batched_tokens={CONTEXT}"
    command = [str(python), "-m", "lm_eval", "--include_path", str(tasks), "--tasks", "pacos_superni"]
    seconds = timed(
        [*command, "--model", "vllm", "--model_args", model, "--batch_size", "auto", "--output_path", str(out)]
    )
    [result] = out.rglob("results_*.json")
    return seconds, json.loads(result.read_text(encoding="utf-8"))["groups"]["pacos_superni"]["rougeL,none"]


if __name__ == "__main__":
    main()
