"""Supervised fine-tuning, from a dataset to an adapter: what runs inside each process that accelerate launches.

    dataset/ ─▶ token ids (data.py) ─▶ packed steps (batches.py) ─▶ LoRA on the base (model.py, loop.py) ─▶ adapter/
"""

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import ModelError, PacosError, TrainingError
from pacos.models import VLLM_LORA_RANKS, load_model_config, load_tokenizer
from pacos.records import read_jsonl
from pacos.runs import Run, Stage
from pacos.templates import ALPACA_SHA256
from pacos.train.batches import total_steps
from pacos.train.data import Dataset, load_dataset, load_tasks, source_paths
from pacos.train.export import export_adapter, serve_command
from pacos.train.isolation import check_isolation
from pacos.train.loop import train_loop
from pacos.train.model import (
    add_lora,
    base_name,
    base_sha256,
    load_model,
    tokenizer_sha256,
    trainable_parameters,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger("pacos")

# What speeds a run up or watches it, without changing what is learnt beyond rounding.
NOT_DECISIVE = {"processes", "accelerate", "pack_tokens", "checkpointing", "save_steps", "keep", "report_to"}


def main(config: Config, run: Run | None) -> None:
    """Train `config`'s adapter; every process calls this, and only the main one holds the `run`.

    Raises TrainingError, DataError, ModelError, RunError: see the modules that this reads through.
    """
    from accelerate.utils import broadcast_object_list

    accelerator = open_accelerator(config)
    decides = [recipe(config), base_sha256(config)]
    done = [run is not None and run.is_done("train", *decides)]
    broadcast_object_list(done)
    if done[0]:
        if run:
            log.info("train: done already, nothing has changed: %s", run.adapter)
        return
    stage = run.stage("train", *decides, inputs=source_paths(config)) if run else contextlib.nullcontext()
    with stage as record:
        train(config, accelerator, record)
    accelerator.end_training()


def train(config: Config, accelerator: "Accelerator", record: Stage | None) -> None:
    tokenizer = load_tokenizer(base_name(config), config.model)
    dataset = load_dataset(config, tokenizer)
    model = load_model(config, accelerator.device)
    check_vocabulary(model, tokenizer)
    pad_id = tokenizer.eos_token_id
    error = check_isolation(model, dataset.examples, pad_id)
    if record:
        announce(config, dataset, model, accelerator, error)
    provenance = {
        "base": base_name(config),
        "base_sha256": base_sha256(config),
        "template": config.train.template,
        "template_sha256": ALPACA_SHA256,
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "dataset_sha256": dataset.sha256,
    }
    folder = config.run_dir / "train"
    train_loop(model, pad_id, dataset, config, accelerator, folder, recipe(config) | provenance)
    if record:
        export_adapter(model, tokenizer, config, dataset, provenance, folder / "adapter")
        record.outputs += [folder / "adapter", folder / "metrics.jsonl"]
        steps = [values for _, values in read_jsonl(folder / "metrics.jsonl")]
        learnt = sum(values["response_tokens"] for values in steps)
        record.tokens |= {"prompt": sum(values["tokens"] for values in steps) - learnt, "completion": learnt}
    accelerator.wait_for_everyone()


def open_accelerator(config: Config) -> "Accelerator":
    """The world as accelerate built it, which must be the one that was asked for: it falls back without a word.

    Raises TrainingError: another number of processes, a sharding strategy, a tracker that is not installed.
    """
    from accelerate import Accelerator
    from accelerate.utils import DistributedDataParallelKwargs, DistributedType

    tracker = None if config.train.report_to == "none" else config.train.report_to
    accelerator = Accelerator(
        # The base's dtype decides the precision, and adapters are float32: autocast would add casts and no more.
        mixed_precision="no",
        log_with=tracker,
        project_dir=str(config.run_dir / "train"),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=False, gradient_as_bucket_view=True)],
    )
    check_world(config, accelerator)
    if tracker:
        if not accelerator.log_with:
            raise TrainingError(
                f"{tracker} is not installed", where="train.report_to", todo=f"pip install {tracker}, or use none"
            )
        accelerator.init_trackers("pacos", config=recipe(config) | {"run": config.name})
    return accelerator


def check_world(config: Config, accelerator: "Accelerator") -> None:
    from accelerate.utils import DistributedType
