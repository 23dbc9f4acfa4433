"""Time saved by several adapters on one engine: `python -m benchmarks.adapters [--lm-eval PYTHON] [--save]`.

One small Llama and four random adapters of it answer the 32 real SuperNI tasks, 20 instances each.
Timed from the shell, start-up included:

    together    pacos evaluate with the four adapters
    singly      pacos evaluate of one adapter, four times, each a run of its own: the base is asked in each
    lm_eval     lm-evaluation-harness with its vLLM backend four times, on the task folder that `pacos export` writes,
                without the base

The saving depends on the time of a start relative to that of the answers. vLLM on CPUs gathers an adapter's
weights for every token, so the base (tests/support/list_writer.py) comes with adapters of rank 1 on queries and
values, which the LoRA paper (2106.09685, section 7.2) finds sufficient.

`--lm-eval` is the Python of an environment that has lm_eval and this repository's packages; see README.md there.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.result import SHARED_DATA, report
from pacos.files import read_jsonl
from pacos.records import Prediction, read_records
from tests.support.list_writer import CONTEXT, build_list_writer
from tests.support.tiny_llama import write_adapter

ADAPTERS = 4
# As many as the harness's vLLM works on at a time, given everything at once.
IN_FLIGHT = 256
SCALE = 0.5  # standard deviation of the adapters' B halves: large enough to change most answers
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
        base, *paths = build_models(Path(folder))
        adapters = {path.name: path for path in paths}
        figures = measure(Path(folder), base, adapters, options.instances, options.max_tokens, options.lm_eval)
    settings: dict[str, Any] = {name: value for name, value in vars(options).items() if name not in ("lm_eval", "save")}
    settings["adapters"] = ADAPTERS
    report("adapters", figures, settings=settings, save=options.save)


def measure(
    folder: Path, base: Path, adapters: dict[str, Path], instances: int, max_tokens: int, lm_eval: Path | None
) -> dict[str, Any]:
    suite = {"name": "superni", "path": str(SHARED_DATA / "superni"), "prompt": "tk-instruct:def"}
    suite |= {"limit": instances, "max_tokens": max_tokens}
    together = write_experiment(folder, "together", base, suite)
    single = {name: write_experiment(folder, name, base, suite) for name in adapters}
    seconds = {
        "together": evaluate(together, adapters),
        "singly": sum(evaluate(single[name], {name: path}) for name, path in adapters.items()),
    }
    found = {name: answers(together, name) for name in adapters}
    figures: dict[str, Any] = {"rougeL": [score(together, name) for name in adapters]}
    figures["answers"] = sum(map(len, found.values()))
    figures["other_answers_singly"] = sum(differing(found[name], answers(single[name], name)) for name in adapters)
    if lm_eval:
        theirs = [run_lm_eval(lm_eval, folder, together, base, path) for path in adapters.values()]
        seconds["lm_eval"] = sum(run.seconds for run in theirs)
        figures["rougeL_of_lm_eval"] = [round(run.rougeL, 4) for run in theirs]
        figures["other_answers_of_lm_eval"] = sum(
            differing(found[name], run.answers) for name, run in zip(adapters, theirs, strict=True)
        )
    times = {f"times_{name}": round(taken / seconds["together"], 2) for name, taken in seconds.items()}
    return times | {f"{name}_s": round(taken, 1) for name, taken in seconds.items()} | figures


def build_models(folder: Path) -> list[Path]:
    """The base, and its adapters."""
    base = build_list_writer(folder / "base")
    return [base] + [
        write_adapter(base, folder / f"adapter-{seed}", SCALE, seed, r=1, targets=["q_proj", "v_proj"])
        for seed in range(ADAPTERS)
    ]


def write_experiment(folder: Path, name: str, base: Path, suite: dict[str, Any]) -> Path:
    values = {
        "name": name,
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(base), "dtype": "float32"},
        "engine": {"args": {"max_model_len": CONTEXT, "max_num_seqs": IN_FLIGHT}, "max_in_flight": IN_FLIGHT},
        "evaluate": {"suites": [suite], "serve": "adapter"},
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
    return time.perf_counter() - began


def score(experiment: Path, adapter: str) -> float:
    text = (evaluation(experiment, adapter) / "scores.json").read_text(encoding="utf-8")
    return round(json.loads(text)["rougeL"], 4)


def answers(experiment: Path, adapter: str) -> dict[str, str]:
    """By instance."""
    rows = read_records(evaluation(experiment, adapter) / "predictions.jsonl", Prediction)
    return {row.instance: row.raw for row in rows}


def evaluation(experiment: Path, adapter: str) -> Path:
    return experiment.parent / "runs" / experiment.stem / "eval" / adapter


def differing(some: dict[str, str], others: dict[str, str]) -> int:
    assert some.keys() == others.keys(), "other instances were answered"
    return sum(text.strip() != others[instance].strip() for instance, text in some.items())


@dataclass
class HarnessRun:
    seconds: float
    rougeL: float
    answers: dict[str, str]


def run_lm_eval(python: Path, folder: Path, experiment: Path, base: Path, adapter: Path) -> HarnessRun:
    tasks, out = folder / "tasks", folder / "lm_eval" / adapter.name
    if not tasks.exists():
        timed([sys.executable, "-c", WORKER, "export", "--config", str(experiment), "--out", str(tasks)])
    model = f"pretrained={base},lora_local_path={adapter},dtype=float32,add_bos_token=True,max_model_len={CONTEXT}"
    rank = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    model += f",enable_lora=True,max_lora_rank={rank},enable_chunked_prefill=False,max_num_batched_tokens={CONTEXT}"
    command = [str(python), "-m", "lm_eval", "--include_path", str(tasks), "--tasks", "pacos_superni"]
    command += ["--model", "vllm", "--model_args", model, "--batch_size", "auto"]
    seconds = timed([*command, "--output_path", str(out), "--log_samples"])
    [result] = out.rglob("results_*.json")
    samples = (sample for path in out.rglob("samples_*.jsonl") for _, sample in read_jsonl(path))
    return HarnessRun(
        seconds,
        json.loads(result.read_text(encoding="utf-8"))["groups"]["pacos_superni"]["rougeL,none"],
        {sample["doc"]["id"]: sample["resps"][0][0] for sample in samples},
    )


if __name__ == "__main__":
    main()
