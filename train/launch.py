"""`pacos train`: shows what would be trained, and runs the `accelerate launch` command that trains it."""

import logging
import os
import pickle
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

import pacos
from pacos.causal_lm import check_causal_lm, check_vocabulary
from pacos.chat_templates import training_tokenizer
from pacos.config import Config, TrainConfig, resolved_yaml
from pacos.errors import ConfigError, HubOutOfReach, TrainingError
from pacos.files import write_text
from pacos.json_text import read_text
from pacos.machine import physical_cores
from pacos.runs import Run
from pacos.serving import guarded
from pacos.train.data.examples import Dataset
from pacos.train.data.sources import source_names, source_paths
from pacos.train.data.tokenized import load_dataset
from pacos.train.distributed import ERROR_FILE, EXPECTED_PROCESSES, has_gpu, launch_flags
from pacos.train.export.hub import check_push
from pacos.train.interfaces import method_of, objective_of
from pacos.train.learning_rate import starting_rate
from pacos.train.model.load import MetaDeviceError, meta_model
from pacos.train.model.memory import estimate_memory
from pacos.train.model.positions import check_positions
from pacos.train.model.precision import computing_dtype, precision_name
from pacos.train.model.start import resolve_start
from pacos.train.model.structure import trainable_parameters
from pacos.train.packing.plan import total_steps
from pacos.train.pipeline import is_done

log = logging.getLogger("pacos")

Value = TypeVar("Value")


def main(config: Config) -> None:
    """Train in separate processes and wait for them. The run must not be open in this process.

    Raises the PacosError that stopped them, or TrainingError where they ended without one.
    """
    with Run.open(config) as run:
        if is_done(config, run):
            log.info("train: done already, nothing has changed: %s", run.trained)
            return
    if config.train.push_to_hub:
        check_push(config.train.push_to_hub)
    for warning in warnings(config.train):
        log.warning("train: %s", warning)
    processes = process_count(config.train)
    with tempfile.TemporaryDirectory() as scratch:
        # Not the run's own config.yaml, which is replaced only once training begins.
        write_text(file := Path(scratch) / "config.yaml", resolved_yaml(config))
        command = launch_command(config, processes, file)
        log.info("train: %s", shlex.join(command))
        error_file = Path(scratch) / "error"
        environment = launch_environment(processes) | {ERROR_FILE: str(error_file)}
        record = config.run_dir / guarded.TRAINING_RECORD
        code = guarded.run(record, command, environment, scratch=Path(scratch))
        if error_file.exists():
            raise pickle.loads(error_file.read_bytes())
    if code:
        raise TrainingError(
            f"the training processes ended with exit code {code}; their error is printed above",
            where=str(config.run_dir / "train"),
            todo="fix the error and rerun; it resumes from the last checkpoint",
        )


def process_count(train: TrainConfig) -> int:
    """`train.processes`; for "auto" the accelerate file's number, or one per GPU, or one."""
    import torch

    if train.processes != "auto":
        return train.processes
    if train.accelerate:
        return _accelerate_value(Path(train.accelerate), "num_processes", int)
    return max(1, torch.cuda.device_count())


def launch_command(config: Config, processes: int, file: Path | None = None) -> list[str]:
    """The command that trains with the configuration in `file`, or the run's own.

    It runs `pacos.train` as a module, which a checkout and an installation both have.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", "--quiet"]
    if config.train.accelerate:
        # For its errors alone: accelerate itself would end in a traceback.
        _accelerate_settings(Path(config.train.accelerate))
        command += ["--config_file", config.train.accelerate, "--num_processes", str(processes)]
    else:
        command += launch_flags(processes).split()
    if not has_gpu() and "OMP_NUM_THREADS" not in os.environ:
        # By default, accelerate gives each process one thread, or as many as this variable says.
        command += ["--num_cpu_threads_per_process", str(max(1, physical_cores() // processes))]
    return [*command, "--module", "pacos.train", "--config", str(file or config.run_dir / "config.yaml")]


def launch_environment(processes: int) -> dict[str, str]:
    """Environment variables of the launched processes."""
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

    Raises as training would: ConfigError, DataError, ModelError. For a hub model that cannot be looked up, the figures
    are left out.
    """
    start = resolve_start(config)
    lines = [f"base {start.base}, {method_of(config.train).summary(config.train)}"]
    if start.adapter:
        lines.append(f"starting from the adapter {start.adapter}")
    try:
        check_causal_lm(config.student, config.model)
        if config.train.learning_rate == "auto":
            lines.append(starting_rate(config).formula)
        tokenizer = training_tokenizer(config)
        dataset = _dataset(config, tokenizer)
        lines += [*_planned_data(config, dataset), *_planned_memory(config, tokenizer, dataset)]
    except HubOutOfReach as unknown:
        lines.append(f"no figures yet: {unknown.what}")
    lines += [f"warning: {text}" for text in warnings(config.train)]
    processes = process_count(config.train)
    return [*lines, f"command: {shlex.join(launch_command(config, processes))}"]


def warnings(train: TrainConfig) -> list[str]:
    """Settings that are allowed and may be unwanted: adapters that vLLM refuses or slows down, no EOS.

    Raises ConfigError for an option that PEFT does not have.
    """
    found = method_of(train).warnings(train)
    if not train.append_eos:
        found.append("train.append_eos is off: the model will not learn to stop")
    return found


def _dataset(config: Config, tokenizer: Any) -> Dataset | None:
    """The examples; None where an earlier stage is still to write them."""
    if not config.train.data and not source_paths(config)[0].is_file():
        return None
    return load_dataset(config, tokenizer)


def _planned_data(config: Config, dataset: Dataset | None) -> list[str]:
    train, objective = config.train, objective_of(config.train)
    if dataset is None:
        return [f"data {source_paths(config)[0]}: not there yet, an earlier stage writes it"]
    units = len(dataset.examples) // objective.examples_per_unit
    steps = total_steps(units - train.eval_examples, train)
    lines = [
        f"data {source_names(config)}: {dataset}",
        f"{steps:,} steps of {train.batch_size} {objective.units_name}, {dataset.tokens / units:.0f} tokens each",
    ]
    if train.max_steps and train.max_steps == steps:
        lines.append(f"train.max_steps = {steps} may end it before {train.epochs:g} epochs")
    return lines


def _planned_memory(config: Config, tokenizer: Any, dataset: Dataset | None) -> list[str]:
    train, lines = config.train, list[str]()
    try:
        model = meta_model(config)
    except MetaDeviceError as unknown:
        return [f"no figures of the model: it {unknown.what}"]
    check_vocabulary(model.get_input_embeddings().weight.shape[0], tokenizer, config.student)
    if dataset is not None:
        check_positions(model, max(len(example.ids) for example in dataset.examples))
    if warning := method_of(train).untouched(model, train):
        lines.append(f"warning: {warning}")
    trained = sum(weight.numel() for weight in trainable_parameters(model).values())
    shares = _sharding_processes(train)
    size = f"{trained:,} trainable weights in float32; the model is computed in {precision_name(config)}"
    try:
        memory = estimate_memory(model, train, computing_dtype(config), train.pack_tokens, shares)
    except MetaDeviceError as unknown:
        return [*lines, f"memory of a device: not estimated, the model {unknown.what}", size]
    if train.checkpointing is not True:
        lines.append(f"memory of a device{f', one of {shares}' if shares > 1 else ''}: {memory}")
    if train.checkpointing is not False:
        lines.append(f"with recomputed activations: {replace(memory, checkpointing=True)}")
    return [*lines, size]


def _sharding_processes(train: TrainConfig) -> int:
    """Processes that the weights are sharded over (FSDP); 1 without FSDP."""
    file = train.accelerate
    sharded = file and _accelerate_value(Path(file), "distributed_type", str) == "FSDP"
    return process_count(train) if sharded else 1


def _accelerate_value(accelerate_file: Path, key: str, kind: Callable[[Any], Value]) -> Value:
    settings = _accelerate_settings(accelerate_file)
    try:
        return kind(settings[key])
    except (ValueError, TypeError, KeyError) as failure:
        raise ConfigError(f"{accelerate_file} has no valid {key}: {failure}", where="train.accelerate") from None


def _accelerate_settings(file: Path) -> dict[str, Any]:
    """accelerate's configuration. Raises ConfigError for a file that is absent, of another encoding or not YAML."""
    text = read_text(file, ConfigError)
    try:
        settings = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as broken:
        raise ConfigError(f"not valid YAML: {str(broken).splitlines()[0]}", where=str(file)) from None
    if not isinstance(settings, dict):
        raise ConfigError(
            "is no configuration of accelerate's", where=str(file), todo="see configs/accelerate/ddp.yaml"
        )
    return settings
