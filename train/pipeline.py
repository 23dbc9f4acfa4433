"""From a dataset, of tasks or of preferences, to an adapter: what runs inside each process that accelerate launches.

dataset/ ─▶ token ids (data) ─▶ packed steps (plan) ─▶ LoRA on the base (model, loop) ─▶ adapter/ (export)
"""

import contextlib
import logging
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import ModelError
from pacos.models import load_tokenizer, model_sha256
from pacos.records import read_jsonl, write_json
from pacos.runs import Run, Stage
from pacos.templates import template
from pacos.train.attention.dispatch import FLEX, attention_for
from pacos.train.data.examples import Dataset
from pacos.train.data.sources import hub_revisions, source_files
from pacos.train.data.tokenized import load_dataset, tokenizer_sha256
from pacos.train.distributed import open_accelerator
from pacos.train.export.adapter import export_trained
from pacos.train.export.hub import check_token, push
from pacos.train.export.probe import StopProbe, probe_stops
from pacos.train.isolation import check_isolation
from pacos.train.model.fsdp import gather, is_sharded, reshard, shard, sharding_asked
from pacos.train.model.load import load_model, meta_model
from pacos.train.model.memory import Memory, fit, free_memory, reckon
from pacos.train.model.precision import computing_dtype, precision
from pacos.train.model.start import check_start, start_sha256
from pacos.train.model.structure import causal_model, trainable_parameters
from pacos.train.optimization.loop import train_loop
from pacos.train.optimization.reference import with_reference
from pacos.train.packing.plan import Plan, plan_run

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger("pacos")

# What speeds a run up or watches it, and changes nothing that is learnt beyond rounding.
NOT_DECISIVE = {
    "processes",
    "accelerate",
    "pack_tokens",
    "attention",
    "fused_lora",
    "compile",
    "checkpointing",
    "save_steps",
    "keep",
    "report_to",
    "push_to_hub",
}


def main(config: Config, run: Run | None) -> None:
    """Train the run's adapter. Every process calls this; `run` is the main process's, None in the others.

    Raises DataError, ModelError, RunError, TrainingError: see the modules named above.
    """
    from accelerate.utils import broadcast_object_list

    check_start(config)
    if config.train.push_to_hub:
        check_token()
    done = [run is not None and is_done(config, run)]
    begun = run.stage("train", *decisions(config), inputs=input_paths(config)) if run and not done[0] else None
    with begun or contextlib.nullcontext() as stage:
        if stage:
            load_dataset(config, load_tokenizer(config.student, config.model), keep=True)
        accelerator = open_accelerator(config, tracked=recipe(config))
        broadcast_object_list(done)
        if not done[0]:
            train(config, accelerator, stage)
        elif run:
            log.info("train: done already, nothing has changed: %s", run.trained)
        accelerator.end_training()


def train(config: Config, accelerator: "Accelerator", stage: Stage | None) -> None:
    tokenizer = load_tokenizer(config.student, config.model)
    dataset = load_dataset(config, tokenizer)
    config, memory = reckon_memory(config, dataset, accelerator)
    model = place_model(config, accelerator)
    check_vocabulary(model, tokenizer)
    pad_id = tokenizer.eos_token_id
    static = attention_for(config, accelerator.device) == FLEX
    plan = plan_run(dataset.examples, config, processes=accelerator.num_processes, static=static)
    error = check_isolation(model, plan.examples, pad_id)
    reshard(model)
    provenance = describe_origin(config, dataset, tokenizer)
    if config.train.objective == "dpo":
        examples = with_reference(model, dataset, config, accelerator, pad_id, provenance, static=static)
        plan = plan_run(examples, config, processes=accelerator.num_processes, static=static)
    if stage:
        log.info("train: memory: %s", memory)
        announce(config, dataset, plan, model, accelerator, error)
    folder = config.run_dir / "train"
    train_loop(model, pad_id, plan, config, accelerator, folder, recipe(config) | provenance)
    trained = gather(trainable_parameters(model), keep=stage is not None)
    probe = probe_stops(model, tokenizer, config) if stage or is_sharded(model) else None
    if stage and probe:
        report_probe(probe, folder / "probe.json")
        result = folder / config.train.result
        export_trained(model, trained, tokenizer, config, dataset, provenance, probe, result)
        stage.outputs += [result, folder / "metrics.jsonl", folder / "probe.json"]
        steps = [values for _, values in read_jsonl(folder / "metrics.jsonl")]
        stage.tokens["completion"] = sum(values["response_tokens"] for values in steps)
        stage.tokens["prompt"] = sum(values["tokens"] for values in steps) - stage.tokens["completion"]
        if config.train.push_to_hub:
            push(result, config.train.push_to_hub)
    accelerator.wait_for_everyone()


def describe_origin(config: Config, dataset: Dataset, tokenizer: Any) -> dict[str, str]:
    """What `pacos.json` holds: all that the weights were made from."""
    return {
        "base": config.student,
        "base_sha256": model_sha256(config.student, config.model),
        "start_sha256": start_sha256(config),
        "template": config.train.template,
        "template_sha256": template(config.train.template).sha256,
        "tokenizer_sha256": tokenizer_sha256(tokenizer),
        "dataset_sha256": dataset.sha256,
    }


def report_probe(probe: StopProbe, path: Path) -> None:
    log.info("train: %s", probe)
    if 2 * probe.stopped < probe.prompts:
        log.warning("the tuned model rarely stops by itself: train for longer, and see train.append_eos")
    write_json(path, asdict(probe))


def reckon_memory(config: Config, dataset: Dataset, accelerator: "Accelerator") -> tuple[Config, Memory]:
    """The configuration with `train.checkpointing` decided, alike on all processes. Raises TrainingError: see `fit`."""
    from accelerate.utils import gather_object

    longest = sorted((len(example.ids) for example in dataset.examples), reverse=True)
    examples = config.train.batch_size * (2 if config.train.objective == "dpo" else 1)
    tokens = min(config.train.pack_tokens, sum(longest[:examples]))
    shares = accelerator.num_processes if sharding_asked() else 1
    memory = reckon(meta_model(config), config, computing_dtype(config), tokens, shares)
    memory = fit(memory, config, min(gather_object([free_memory(accelerator.device)])))
    train = config.train.model_copy(update={"checkpointing": memory.checkpointing})
    return config.model_copy(update={"train": train}), memory


def place_model(config: Config, accelerator: "Accelerator") -> Any:
    """The model on this process's device; where FSDP is asked for, loaded on the CPU and then sharded."""
    attention = attention_for(config, accelerator.device)
    if not sharding_asked():
        return load_model(config, accelerator.device, attention)
    model = load_model(config, "cpu", attention)
    dtype = computing_dtype(config) if config.train.method == "full" else None
    shard(model, causal_model(model), accelerator.device, accelerator.num_processes, dtype)
    return model


def input_paths(config: Config) -> list[Path]:
    return source_files(config) + ([Path(config.train.adapter)] if config.train.adapter else [])


def is_done(config: Config, run: Run) -> bool:
    return run.is_done("train", *decisions(config))


def decisions(config: Config) -> tuple[object, ...]:
    """All that decides the result and is no file: the manifest holds the files' hashes."""
    return recipe(config), model_sha256(config.student, config.model), hub_revisions(config)


def recipe(config: Config) -> dict[str, Any]:
    """The configuration that decides what is learnt: a checkpoint or adapter of another recipe is another run's."""
    train = {name: value for name, value in config.train.model_dump(mode="json").items() if name not in NOT_DECISIVE}
    return {"seed": config.seed, "revision": config.model.revision, "dtype": config.model.dtype} | train


def check_vocabulary(model: Any, tokenizer: Any) -> None:
    """Raises ModelError for a tokenizer with more ids than the model has embeddings."""
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelError(
            f"the tokenizer has {len(tokenizer):,} ids and the model {rows:,} embeddings",
            where=model.name_or_path,
            todo="use the tokenizer the model was trained with",
        )


def announce(
    config: Config, dataset: Dataset, plan: Plan, model: Any, accelerator: "Accelerator", error: float
) -> None:
    trainable = sum(weight.numel() for weight in trainable_parameters(model).values())
    log.info("train: %s", dataset)
    log.info("train: %s", plan)
    log.info(
        "train: %s computed in %s, %s trainable weights; %d steps on %d × %s; packed = alone to %.1e",
        config.student,
        precision(config),
        f"{trainable:,}",
        len(plan.steps),
        accelerator.num_processes,
        accelerator.device.type,
        error,
    )
