"""`pacos train`: what would be trained, and the `accelerate launch` command that trains it."""

import logging
import os
import pickle
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

import pacos
from pacos.config import Config, LoraConfig
from pacos.errors import ConfigError, HubOutOfReach, TrainingError
from pacos.models import VLLM_LORA_RANKS, adapter_rank, load_tokenizer, serving_problems
from pacos.runs import Run
from pacos.train.data.sources import source_names, source_paths
from pacos.train.data.tokenized import load_dataset
from pacos.train.distributed import ERROR_FILE, EXPECTED_PROCESSES, has_gpu, launch_flags
from pacos.train.export.hub import check_token
from pacos.train.model.load import meta_model
from pacos.train.model.lora import peft_settings
from pacos.train.model.memory import reckon
from pacos.train.model.precision import computing_dtype, precision
from pacos.train.model.start import check_start
from pacos.train.model.structure import trainable_parameters
from pacos.train.packing.plan import total_steps
from pacos.train.pipeline import is_done

log = logging.getLogger("pacos")

Value = TypeVar("Value")


def main(config: Config) -> None:
    """Train in processes of their own and wait for them. The run must not be open in this process.

    Raises the PacosError that stopped them, or TrainingError where they ended without one.
    """
    with Run.open(config) as run:
        if is_done(config, run):
            log.info("train: done already, nothing has changed: %s", run.trained)
            return
    if config.train.push_to_hub:
        check_token()
    for warning in warnings(config):
        log.warning("train: %s", warning)
    processes = process_count(config)
    command = launch_command(config, processes)
    log.info("train: %s", shlex.join(command))
    with tempfile.TemporaryDirectory() as scratch:
        error_file = Path(scratch) / "error"
        environment = launch_environment(processes) | {ERROR_FILE: str(error_file)}
        code = subprocess.run(command, env=environment, check=False).returncode
        if error_file.exists():
            raise pickle.loads(error_file.read_bytes())
    if code:
        raise TrainingError(
            f"the training processes ended with exit code {code}; what went wrong is said above",
            where=str(config.run_dir / "train"),
            todo="mend it and run the same command again: it goes on from the last checkpoint",
        )


def process_count(config: Config) -> int:
    """`train.processes`; for "auto" what the accelerate file says, or one per GPU, or one."""
    if config.train.processes != "auto":
        return config.train.processes
    if config.train.accelerate:
        return _accelerate_value(Path(config.train.accelerate), "num_processes", int)
    import torch

    return max(1, torch.cuda.device_count())


def launch_command(config: Config, processes: int) -> list[str]:
    """Runs `pacos.train` as a module, so that it is found in a checkout and in an installation alike."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
    if config.train.accelerate:
        command += ["--config_file", config.train.accelerate, "--num_processes", str(processes)]
    else:
        command += launch_flags(processes).split()
    if not has_gpu():
        # accelerate gives each process one thread otherwise.
        command += ["--num_cpu_threads_per_process", str(max(1, (os.cpu_count() or 1) // processes))]
    return [*command, "--module", "pacos.train", "--config", str(config.run_dir / "config.yaml")]


def launch_environment(processes: int) -> dict[str, str]:
    home = str(Path(pacos.__file__).parents[1])
    environment = os.environ | {
        EXPECTED_PROCESSES: str(processes),
        "PYTHONPATH": os.pathsep.join(filter(None, [home, os.environ.get("PYTHONPATH")])),
        "TOKENIZERS_PARALLELISM": "true",
    }
    if not has_gpu():
        environment["ACCELERATE_USE_CPU"] = "true"
    return environment


def plan(config: Config) -> list[str]:
    """Lines for --dry-run: data, steps, trainable weights, warnings. Loads no weights and uses no GPU.

    Raises as training would: ConfigError, DataError, ModelError. A hub model that cannot be looked up just now
    leaves its figures out.
    """
    lora = config.train.lora
    check_start(config)
    what = {"lora": "LoRA", "qlora": "QLoRA", "full": "every weight"}[config.train.method]
    if config.train.method != "full":
        what += f" r={lora.r} alpha={lora.alpha} on {lora.targets}"
    lines = [f"base {config.student}, {what}"]
    if config.train.adapter:
        lines.append(f"going on from the adapter {config.train.adapter}")
    try:
        lines += _planned_work(config)
    except HubOutOfReach as unknown:
        lines.append(f"no figures yet: {unknown.what}")
    lines += [f"warning: {text}" for text in warnings(config)]
    processes = process_count(config)
    return [*lines, f"command: {shlex.join(launch_command(config, processes))}"]


def warnings(config: Config) -> list[str]:
    """What the configuration allows and its user may not want: adapters vLLM refuses or slows, no EOS.

    Raises ConfigError for an option that PEFT has not.
    """
    found = [] if config.train.method == "full" else adapter_warnings(config.train.lora)
    if not config.train.append_eos:
        found.append("train.append_eos is off: the model will not learn to stop")
    return found


def adapter_warnings(lora: LoraConfig) -> list[str]:
    settings = peft_settings(lora)
    found = [
        f"vLLM will refuse this adapter ({reason}); pacos merge can serve it" for reason in serving_problems(settings)
    ]
    rank = adapter_rank(settings)
    if rank not in VLLM_LORA_RANKS and rank < max(VLLM_LORA_RANKS):
        served = next(served for served in VLLM_LORA_RANKS if served > rank)
        found.append(f"vLLM has no rank {rank} and serves it as {served}, at {served}'s cost")
    return found


def _planned_work(config: Config) -> list[str]:
    train, lines = config.train, []
    kind = "pairs" if train.objective == "dpo" else "examples"
    if train.data or source_paths(config)[0].is_file():
        dataset = load_dataset(config, load_tokenizer(config.student, config.model))
        rows = len(dataset.examples) // (2 if train.objective == "dpo" else 1)
        steps = total_steps(rows - train.eval_examples, train)
        lines += [
            f"data {source_names(config)}: {dataset}",
            f"{steps:,} steps of {train.batch_size} {kind}, {dataset.tokens / rows:.0f} tokens each",
        ]
        if train.max_steps and train.max_steps == steps:
            lines.append(f"train.max_steps = {steps} ends it before {train.epochs:g} epochs may be over")
    else:
        lines.append(f"data {source_paths(config)[0]}: not there yet, an earlier stage writes it")
    model = meta_model(config)
    trained = sum(weight.numel() for weight in trainable_parameters(model).values())
    shares = _sharing_processes(config)
    memory = reckon(model, config, computing_dtype(config), train.pack_tokens, shares)
    if train.checkpointing is not True:
        lines.append(f"memory of a device{f', one of {shares}' if shares > 1 else ''}: {memory}")
    if train.checkpointing is not False:
        lines.append(f"with recomputed activations: {replace(memory, checkpointing=True)}")
    return [*lines, f"{trained:,} trainable weights in float32; the model is computed in {precision(config)}"]


def _sharing_processes(config: Config) -> int:
    """Processes that share the weights (FSDP); 1 where each holds them whole."""
    file = config.train.accelerate
    sharded = file and _accelerate_value(Path(file), "distributed_type", str) == "FSDP"
    return process_count(config) if sharded else 1


def _accelerate_value(accelerate_file: Path, key: str, kind: Callable[[Any], Value]) -> Value:
    try:
        return kind(yaml.safe_load(accelerate_file.read_text(encoding="utf-8"))[key])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as failure:
        raise ConfigError(f"no {key} can be read from {accelerate_file}: {failure}", where="train.accelerate") from None
