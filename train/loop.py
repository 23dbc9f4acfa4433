"""The training loop: one optimizer step after another, each measured, none silent about what went wrong.

The loss of a step is the sum of its token losses over the number of its learnt tokens, both over all processes:
packing, the number of passes and the number of processes do not change it.
"""

import contextlib
import logging
import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pacos.config import Config, TrainConfig
from pacos.errors import TrainingError
from pacos.progress import bar
from pacos.records import JsonlWriter, read_jsonl, write_jsonl
from pacos.train.batches import Batch, collate, lay_out, step_examples, steps_per_epoch, total_steps
from pacos.train.checkpoints import load_last_checkpoint, optimizer_tensors, restore, save_checkpoint
from pacos.train.data import Dataset, Example
from pacos.train.model import flops_per_token, summed_loss, trainable_parameters
from pacos.train.sharding import gather, is_sharded, no_sync, whole

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

log = logging.getLogger("pacos")

# Dense bfloat16 peak of one GPU, FLOP/s, from the makers' data sheets; the first name that fits is taken.
PEAK_FLOPS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
}


@dataclass(frozen=True, slots=True)
class StepMetrics:
    """A line of `metrics.jsonl`. `loss` in nats per learnt token; `mfu` is 0.0 where the device's peak is unknown."""

    step: int
    epoch: float
    loss: float
    learning_rate: float
    grad_norm: float
    examples: int
    tokens: int
    response_tokens: int
    fill: float
    tokens_per_s: float
    mfu: float
    seconds: float


def learning_rate(step: int, total: int, train: TrainConfig) -> float:
    """The rate of step 0 … total-1, as transformers' schedulers give it: warm-up from 0, then down to 0."""
    warmup = min(math.ceil(train.warmup_ratio * total), total - 1)
    if step < warmup:
        return train.learning_rate * step / warmup
    progress = (step - warmup) / (total - warmup)
    shape = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return train.learning_rate * shape[train.schedule]


@dataclass(frozen=True, slots=True)
class StepWork:
    """One process's share of an optimizer step, beside what all processes know of it."""

    chosen: list[Example]
    mine: list[Example]
    passes: list[Batch]
    tokens: int
    response_tokens: int
    fill: float


def train_loop(
    model: Any,
    pad_id: int,
    dataset: Dataset,
    config: Config,
    accelerator: "Accelerator",
    folder: Path,
    fingerprint: dict[str, Any],
) -> None:
    """Train to the end, from the last complete checkpoint in `folder` if there is one.

    Writes `metrics.jsonl` and `checkpoints/` there. Raises TrainingError for a non-finite loss or gradient, and
    RunError where the checkpoints belong to another run.
    """
    import torch

    train, examples, main = config.train, dataset.examples, accelerator.is_main_process
    total, per_epoch = total_steps(len(examples), train), steps_per_epoch(len(examples), train)
    optimizer = build_optimizer(model, train, accelerator)
    start = resume(model, optimizer, accelerator, folder / "checkpoints", fingerprint)
    wrapped = model if is_sharded(model) else accelerator.prepare(model)
    flops, peak = flops_per_token(model), peak_flops(accelerator)
    with contextlib.ExitStack() as closing:
        metrics = closing.enter_context(open_metrics(folder / "metrics.jsonl", start)) if main else None
        progress = closing.enter_context(bar("train", total, "steps", initial=start, disable=not main))
        for step in range(start, total):
            began = time.monotonic()
            work = prepare_step(examples, config, step, pad_id, accelerator)
            seed_dropout(config.seed, step, accelerator.process_index)
            try:
                loss, norm = backward(wrapped, work, train.max_grad_norm, accelerator)
            except torch.OutOfMemoryError as failure:
                raise out_of_memory(work, train) from failure
            if not (math.isfinite(loss) and math.isfinite(norm)):
                raise_non_finite(wrapped, work, pad_id, accelerator, what=f"step {step + 1}: loss {loss}, norm {norm}")
            rate = learning_rate(step, total, train)
            update(optimizer, rate)
            seconds = time.monotonic() - began
            measured = StepMetrics(
                step=step + 1,
                epoch=round((step + 1) / per_epoch, 4),
                loss=loss,
                learning_rate=rate,
                grad_norm=norm,
                examples=len(work.chosen),
                tokens=work.tokens,
                response_tokens=work.response_tokens,
                fill=round(work.fill, 4),
                tokens_per_s=round(work.tokens / seconds, 1),
                mfu=round(work.tokens * flops / seconds / peak, 4) if peak else 0.0,
                seconds=round(seconds, 4),
            )
            if metrics:
                metrics.write(measured)
            accelerator.log({f"train/{name}": value for name, value in asdict(measured).items()}, step=step + 1)
            progress.set_postfix_str(f"loss {loss:.3f}, {measured.tokens_per_s:,.0f} tokens/s", refresh=False)
            progress.update()
            if (step + 1) % train.save_steps == 0 or step + 1 == total:
                weights = gather(trainable_parameters(model), keep=main)
                state = gather(optimizer_tensors(model, optimizer), keep=main)
                if main:
                    save_checkpoint(folder / "checkpoints", model, weights, state, step + 1, fingerprint, config)
                accelerator.wait_for_everyone()


def build_optimizer(model: Any, train: TrainConfig, accelerator: "Accelerator") -> "torch.optim.AdamW":
    import torch

    parameters = trainable_parameters(model).values()
    fused = accelerator.device.type == "cuda"
    return torch.optim.AdamW(parameters, lr=train.learning_rate, weight_decay=train.weight_decay, fused=fused)


def resume(
    model: Any,
    optimizer: "torch.optim.Optimizer",
    accelerator: "Accelerator",
    folder: Path,
    fingerprint: dict[str, Any],
) -> int:
    """Restore the last complete checkpoint on every process; returns the steps done. Only the main process reads."""
    from accelerate.utils import broadcast_object_list

    found = [load_last_checkpoint(folder, fingerprint) if accelerator.is_main_process else None]
    broadcast_object_list(found)
    checkpoint = found[0]
    if checkpoint is None:
        return 0
    restore(model, optimizer, checkpoint)
    if accelerator.is_main_process:
        log.info("going on after step %d", checkpoint.step)
    return checkpoint.step


def open_metrics(path: Path, start: int) -> JsonlWriter:
    """Append after step `start`; lines of later steps, whose weights were lost, are removed."""
    lines = read_jsonl(path, torn_tail=True) if start and path.is_file() else ()
    write_jsonl(path, [values for _, values in lines if values["step"] <= start])
    return JsonlWriter(path)


def prepare_step(
    examples: Sequence[Example], config: Config, step: int, pad_id: int, accelerator: "Accelerator"
) -> StepWork:
    train = config.train
    chosen = [examples[index] for index in step_examples(len(examples), train, config.seed, step)]
    layout = lay_out([len(example.ids) for example in chosen], train.pack_tokens, accelerator.num_processes)
    passes = [[[chosen[index] for index in row] for row in rows] for rows in layout.passes[accelerator.process_index]]
    return StepWork(
        chosen,
        [example for rows in passes for row in rows for example in row],
        [collate(rows, layout.width, pad_id) for rows in passes],
        layout.tokens,
        sum(example.response_tokens for example in chosen),
        layout.fill,
    )


def seed_dropout(seed: int, step: int, process: int) -> None:
    """Random numbers are a function of the step, so that resume needs no generator state."""
    import torch

    torch.manual_seed(random.Random(f"{seed}:{step}:{process}").getrandbits(63))


def backward(wrapped: Any, work: StepWork, max_norm: float, accelerator: "Accelerator") -> tuple[float, float]:
    """Gradients of the step's loss, clipped; returns the loss over all processes and the norm before clipping.

    Gradients cross the network once, in the last pass, and the device is waited for once, at the end.
    """
    import torch

    loss = torch.zeros((), device=accelerator.device)
    for number, batch in enumerate(work.passes, 1):
        with contextlib.nullcontext() if number == len(work.passes) else unsynchronized(wrapped, accelerator):
            summed = summed_loss(wrapped, batch.to(accelerator.device)) / work.response_tokens
            # DDP and FSDP average gradients over processes; the sum is wanted.
            accelerator.backward(summed * accelerator.num_processes)
        loss += summed.detach()
    norm = whole(accelerator.clip_grad_norm_(list(trainable_parameters(wrapped).values()), max_norm))
    loss, norm = torch.stack([accelerator.reduce(loss, "sum"), norm.to(loss.dtype)]).tolist()
    return loss, norm


def unsynchronized(wrapped: Any, accelerator: "Accelerator") -> contextlib.AbstractContextManager[None]:
    return no_sync(wrapped) if is_sharded(wrapped) else accelerator.no_sync(wrapped)  # type: ignore[no-any-return]


def update(optimizer: "torch.optim.Optimizer", rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def out_of_memory(work: StepWork, train: TrainConfig) -> TrainingError:
    largest = max(batch.ids.numel() for batch in work.passes)
    ways = [f"train.pack_tokens={max(train.max_length, train.pack_tokens // 2)}"]
    ways += [] if train.checkpointing else ["train.checkpointing=true"]
    return TrainingError(
        f"the device's memory does not hold a pass of {largest:,} tokens",
        where="train.pack_tokens",
        todo=f"try {' or '.join(ways)}: neither changes what is learnt, and the run goes on from its checkpoint",
    )


def raise_non_finite(wrapped: Any, work: StepWork, pad_id: int, accelerator: "Accelerator", *, what: str) -> NoReturn:
    """Run each row of the step alone to find those whose loss or gradient is not finite, and stop with their names.

    Processes that share a model's weights run every row together; others only their own rows.
    """
    import torch
    from accelerate.utils import gather_object

    guilty: list[str] = []
    together = is_sharded(wrapped)
    model = wrapped if together else accelerator.unwrap_model(wrapped)
    parameters = list(trainable_parameters(model).values())
    with contextlib.nullcontext() if together else accelerator.no_sync(wrapped):
        for example in work.chosen if together else work.mine:
            model.zero_grad()
            loss = summed_loss(model, collate([[example]], len(example.ids), pad_id).to(accelerator.device))
            loss.backward()
            gradients = [whole(parameter.grad) for parameter in parameters if parameter.grad is not None]
            if not all(bool(torch.isfinite(tensor).all()) for tensor in [loss, *gradients]):
                guilty.append(example.row)
    if not together:
        guilty = gather_object(guilty)
    if len(guilty) == len(work.chosen):
        cause, todo = "every row of the step does it: the weights are broken", "lower train.learning_rate"
    elif guilty:
        cause, todo = f"caused by {some(guilty)}", "look at these rows, mend or remove them"
    else:
        rows = some([example.row for example in work.chosen])
        cause, todo = f"no row does it alone; the step took {rows}", "lower train.learning_rate"
    raise TrainingError(f"not finite at {what}; {cause}", todo=todo)


def some(rows: Sequence[str], limit: int = 16) -> str:
    return ", ".join(rows[:limit]) + (f" and {len(rows) - limit} more" if len(rows) > limit else "")


def peak_flops(accelerator: "Accelerator") -> float:
    """Peak of all devices together in bfloat16; 0.0 where it is unknown."""
    import torch

    if accelerator.device.type != "cuda":
        return 0.0
    name = torch.cuda.get_device_name(accelerator.device)
    peak = next((peak for known, peak in PEAK_FLOPS.items() if known in name), 0.0)
    return peak * int(accelerator.num_processes)
