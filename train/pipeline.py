"""Trains a run's adapter or model: what runs inside each process that accelerate launches.

dataset/ ─▶ token ids (data) ─▶ packed steps (packing) ─▶ weights (model, optimization) ─▶ adapter/ or model/ (export)
"""

import contextlib
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.causal_lm import check_vocabulary
from pacos.chat_templates import template_sha256, training_tokenizer
from pacos.config import Config
from pacos.errors import TrainingError
from pacos.files import read_jsonl
from pacos.models import ModelRef, model_sha256
from pacos.results import plain, write_result
from pacos.results.training import Provenance, StopProbe
from pacos.runs import Run, Stage
from pacos.templates import template
from pacos.train.attention.dispatch import attention_for
from pacos.train.data.examples import Dataset
from pacos.train.data.sources import NamedRow, hub_revisions, read_training_rows, source_files
from pacos.train.data.tokenized import load_dataset, tokenizer_sha256
from pacos.train.distributed import open_accelerator
from pacos.train.export.adapter import TrainedWeights, export_trained
from pacos.train.export.card import model_card
from pacos.train.export.hub import check_push, push
from pacos.train.export.probe import asked_of, probe_stops
from pacos.train.interfaces import method_of, objective_of
from pacos.train.isolation import check_isolation, check_tuned
from pacos.train.learning_rate import with_starting_rate
from pacos.train.model.fsdp import fsdp_enabled, full_tensors, is_sharded, reshard, shard
from pacos.train.model.load import MetaDeviceError, load_model, meta_model
from pacos.train.model.memory import MemoryEstimate, estimate_memory, fit_memory, free_memory
from pacos.train.model.mixing import choose_rows
from pacos.train.model.positions import check_positions
from pacos.train.model.precision import computing_dtype, precision_name
from pacos.train.model.start import resolve_start
from pacos.train.model.structure import causal_model, trainable_parameters
from pacos.train.optimization.loop import Trainer
from pacos.train.optimization.reference import with_reference
from pacos.train.optimization.runtime import Runtime
from pacos.train.packing.plan import TrainingPlan, plan_run
from pacos.train.packing.rules import RowRules

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger("pacos")

# Keys that affect speed or monitoring, and change the result by rounding at most.
NOT_DECISIVE = {
    "tokenized",
    "processes",
    "accelerate",
    "pack_tokens",
    "attention",
    "fused_lora",
    "compile",
    "checkpointing",
    "keep",
    "report_to",
    "push_to_hub",
}
# These decide which weights are exported where the best checkpoint is.
DECISIVE_FOR_THE_BEST = {"keep_best", "save_steps"}


@dataclass(frozen=True)
class TrainingData:
    """What a run is trained on: its rows, and their token ids by `tokenizer`."""

    tokenizer: Any
    rows: list[NamedRow]
    dataset: Dataset

    @classmethod
    def load(cls, config: Config, *, keep: bool = False) -> "TrainingData":
        """Read and tokenise the rows; with `keep`, cache the token ids. Raises as `load_dataset`."""
        tokenizer, rows = training_tokenizer(config), read_training_rows(config)
        return cls(tokenizer, rows, load_dataset(config, tokenizer, rows, keep=keep))


def main(config: Config, run: Run | None) -> None:
    """Train the run's adapter or model. Every process calls this; `run` is None in all but the main one.

    Raises DataError, ModelError, RunError, TrainingError: see the modules named above.
    """
    from accelerate.utils import broadcast_object_list

    start, config = resolve_start(config), with_starting_rate(config)
    if config.train.push_to_hub:
        check_push(config.train.push_to_hub)
    decides = decisions(config, start.sha256) if run else ()
    done = [run is not None and run.is_done("train", *decides)]
    work = run.stage("train", *decides, inputs=input_paths(config)) if run and not done[0] else None
    with work or contextlib.nullcontext() as stage:
        # Before joining the other processes, so that none of them waits in a collective.
        data = TrainingData.load(config, keep=True) if stage else None
        accelerator = open_accelerator(config)
        broadcast_object_list(done)
        if not done[0]:
            train(config, start, data or TrainingData.load(config), accelerator, stage)
        elif run:
            log.info("train: done already, nothing has changed: %s", run.trained)
        accelerator.end_training()


def train(config: Config, start: ModelRef, data: TrainingData, accelerator: "Accelerator", stage: Stage | None) -> None:
    """Train and export; `stage` is None in all but the main process."""
    memory = decide_memory(config, data.dataset, accelerator)
    checkpointing = memory.checkpointing if isinstance(memory, MemoryEstimate) else config.train.checkpointing is True
    model = place_model(config, accelerator, checkpointing=checkpointing)
    check_vocabulary(model.get_input_embeddings().weight.shape[0], data.tokenizer, config.student)
    longest = max((example.ids for example in data.dataset.examples), key=len)
    check_positions(model, len(longest))
    rules = choose_rows(model, longest, attention_for(config, accelerator.device))
    runtime = Runtime(accelerator, data.tokenizer.eos_token_id, rules)
    plan, runtime, error = checked_plan(model, data.dataset.examples, config, runtime)
    reshard(model)
    provenance = describe_origin(config.train.template, start, data)
    if objective_of(config.train).has_reference:
        examples = with_reference(model, data.dataset.examples, config, runtime, provenance)
        plan = plan_examples(examples, config, runtime)
    if stage:
        log.info("train: memory: %s", memory)
        if warning := method_of(config.train).untouched(model, config.train):
            log.warning("train: %s", warning)
        report_rows(runtime.rules)
        log.info("train: %s", data.dataset)
        log.info("train: %s", plan)
        log.info("train: %s", setup_summary(config, model, len(plan.steps), accelerator, error))
    best = Trainer(model, config, runtime).run(plan, config.run_dir / "train", recipe(config) | plain(provenance))
    finish(model, config, data, replace(provenance, best=best), stage)
    accelerator.wait_for_everyone()


def finish(model: Any, config: Config, data: TrainingData, provenance: Provenance, stage: Stage | None) -> None:
    """Check that the model stops, export it, and record the outputs. Every process takes part in gathering."""
    folder, result = config.run_dir / "train", config.run_dir / "train" / config.train.result
    weights = full_tensors(trainable_parameters(model), keep=stage is not None)
    if stage is None and not is_sharded(model):
        return
    check_tuned(model, data.dataset.examples[0])
    asked = asked_of(data.rows, data.tokenizer, config)
    is_chat = template(config.train.template).is_chat
    probe = probe_stops(model, asked, data.dataset.examples[0].ids[-1] if is_chat else data.tokenizer.eos_token_id)
    if stage is None:
        return
    report_probe(probe, folder / "probe.json")
    card = model_card(config, data.dataset, provenance, probe)
    export_trained(TrainedWeights(model, weights), data.tokenizer, config, provenance, card, result)
    stage.outputs += [result, folder / "metrics.jsonl", folder / "probe.json"]
    steps = [values for _, values in read_jsonl(folder / "metrics.jsonl")]
    stage.tokens["completion"] = sum(values["response_tokens"] for values in steps)
    stage.tokens["prompt"] = sum(values["tokens"] for values in steps) - stage.tokens["completion"]
    if config.train.push_to_hub:
        push(result, config.train.push_to_hub)


def plan_examples(examples: list[Any], config: Config, runtime: Runtime) -> TrainingPlan:
    """The plan of these examples for all processes."""
    return plan_run(examples, config.train, config.seed, processes=runtime.processes, rules=runtime.rules)


def checked_plan(
    model: Any, examples: list[Any], config: Config, runtime: Runtime
) -> tuple[TrainingPlan, Runtime, float]:
    """The plan, the runtime that it is for, and the error of `check_isolation`, whose errors it raises.

    A model that padding changes gets micro-batches of one example.
    """
    plan = plan_examples(examples, config, runtime)
    try:
        return plan, runtime, check_isolation(model, plan.examples, runtime.pad_id, runtime.rules)
    except TrainingError:
        if not runtime.rules.unpacked or runtime.rules.single:
            raise
    rules = replace(runtime.rules, single=True, unpacked=f"{runtime.rules.unpacked}, and padding changes its results")
    return checked_plan(model, examples, config, replace(runtime, rules=rules))


def report_rows(rules: RowRules) -> None:
    """Log why examples are not packed, or share no prefix."""
    if rules.unpacked:
        rows = "one example at a time" if rules.single else "padded, each example in a row of its own"
        log.warning("train: not packed but %s, which is slower and trains the same: %s", rows, rules.unpacked)
    elif rules.unshared:
        log.info("train: no prefix is shared: %s", rules.unshared)


def describe_origin(template_name: str, start: ModelRef, data: TrainingData) -> Provenance:
    """Hashes of all that the weights will be made from."""
    return Provenance(
        base=start.base,
        base_sha256=start.sha256,
        start_sha256=start.adapter_sha256,
        template=template_name,
        template_sha256=template_sha256(template(template_name), data.tokenizer),
        tokenizer_sha256=tokenizer_sha256(data.tokenizer),
        dataset_sha256=data.dataset.sha256,
    )


def report_probe(probe: StopProbe, path: Path) -> None:
    """Log and write the stop probe, with a warning where most answers run on."""
    log.info("train: %s", probe)
    if 2 * probe.stopped < probe.prompts:
        log.warning("the tuned model rarely stops by itself: train for longer (and see train.append_eos)")
    write_result(path, probe)


def decide_memory(config: Config, dataset: Dataset, accelerator: "Accelerator") -> MemoryEstimate | str:
    """Decide on checkpointing, the same on all processes; or why nothing can be estimated.

    Raises TrainingError as `fit_memory`.
    """
    from accelerate.utils import gather_object

    longest = sorted((len(example.ids) for example in dataset.examples), reverse=True)
    examples = config.train.batch_size * objective_of(config.train).examples_per_unit
    tokens = min(config.train.pack_tokens, sum(longest[:examples]))
    shares = accelerator.num_processes if fsdp_enabled() else 1
    try:
        memory = estimate_memory(meta_model(config), config.train, computing_dtype(config), tokens, shares)
    except MetaDeviceError as unknown:
        return f"not estimated, the model {unknown.what}"
    return fit_memory(memory, config.train, min(gather_object([free_memory(accelerator.device)])))


def place_model(config: Config, accelerator: "Accelerator", *, checkpointing: bool) -> Any:
    """The model on this process's device; with FSDP, loaded on the CPU and then sharded."""
    if not fsdp_enabled():
        return load_model(config, accelerator.device, checkpointing=checkpointing)
    model = load_model(config, "cpu", checkpointing=checkpointing)
    dtype = computing_dtype(config) if method_of(config.train).trains_base else None
    shard(model, causal_model(model), accelerator.device, accelerator.num_processes, dtype)
    return model


def input_paths(config: Config) -> list[Path]:
    """Files that decide the result: rows, and the adapter to start from."""
    return source_files(config) + ([Path(config.train.adapter)] if config.train.adapter else [])


def is_done(config: Config, run: Run) -> bool:
    """Whether the run has been trained with this configuration, base and data."""
    return run.is_done("train", *decisions(with_starting_rate(config), model_sha256(config.student, config.model)))


def decisions(config: Config, base_sha256: str) -> tuple[object, ...]:
    """All that decides the result and is not a file; the manifest has the files' hashes."""
    return recipe(config), base_sha256, hub_revisions(config.train.data)


def recipe(config: Config) -> dict[str, Any]:
    """The configuration that decides the result; a checkpoint or adapter of another recipe belongs to another run."""
    passed_over = NOT_DECISIVE if config.train.keep_best else NOT_DECISIVE | DECISIVE_FOR_THE_BEST
    if not config.train.seed_tasks:  # a key that runs of earlier versions lack
        passed_over = passed_over | {"seed_tasks"}
    if not template(config.train.template).is_chat:  # such keys as well
        passed_over = passed_over | {"chat_template", "learn"}
    train = {name: value for name, value in config.train.model_dump(mode="json").items() if name not in passed_over}
    return {"seed": config.seed, "revision": config.model.revision, "dtype": config.model.dtype} | train


def setup_summary(config: Config, model: Any, steps: int, accelerator: "Accelerator", error: float) -> str:
    """Model, precision, size and devices in one line for the log."""
    trainable = sum(weight.numel() for weight in trainable_parameters(model).values())
    return (
        f"{config.student} computed in {precision_name(config)}, {trainable:,} trainable weights; {steps} steps on "
        f"{accelerator.num_processes} × {accelerator.device.type}; together = alone to {error:.1e}"
    )
