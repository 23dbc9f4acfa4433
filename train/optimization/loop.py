"""The training loop: one optimizer step after another, each measured, none silent about what went wrong.

What the loss of a step is, train/objectives.py says: packing, the number of passes and the number of processes do
not change it.
"""

import contextlib
import logging
import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pacos.config import Config, TrainConfig
from pacos.errors import TrainingError
from pacos.progress import bar
from pacos.train.model.fsdp import gather, is_sharded, no_sync, whole
from pacos.train.model.structure import flops_per_token, trainable_parameters
from pacos.train.optimization.checkpoints import load_last_checkpoint, optimizer_tensors, restore, save_checkpoint
from pacos.train.optimization.held_out import held_out_loss
from pacos.train.optimization.metrics import Meter, open_metrics, peak_flops
from pacos.train.optimization.objectives import Objective, objective_of
from pacos.train.packing.batch import Batch, collate
from pacos.train.packing.plan import Plan, Step

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator

log = logging.getLogger("pacos")


def learning_rate(step: int, total: int, train: TrainConfig) -> float:
    """The rate of step 0 … total-1, as transformers' schedulers give it: warm-up from 0, then down to its end."""
    warmup = min(math.ceil(train.warmup_ratio * total), total - 1)
    if step < warmup:
        return train.learning_rate * step / warmup
    progress = (step - warmup) / (total - warmup)
    shape = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return train.learning_rate * (train.min_lr_ratio + (1 - train.min_lr_ratio) * shape[train.schedule])


def train_loop(
    model: Any,
    pad_id: int,
    plan: Plan,
    config: Config,
    accelerator: "Accelerator",
    folder: Path,
    fingerprint: dict[str, Any],
) -> None:
    """Train to the plan's end, from the last complete checkpoint in `folder` if there is one.

    Writes `metrics.jsonl` and `checkpoints/` there. Raises TrainingError for a non-finite loss or gradient, and
    RunError where the checkpoints belong to another run.
    """
    train, total, main = config.train, len(plan.steps), accelerator.is_main_process
    objective = objective_of(train)
    optimizer = build_optimizer(model, train, accelerator)
    start = resume(model, optimizer, accelerator, folder / "checkpoints", fingerprint)
    wrapped = model if is_sharded(model) else accelerator.prepare(model)
    meter = Meter(flops_per_token(model), peak_flops(accelerator), plan.steps_per_epoch)
    with contextlib.ExitStack() as closing:
        metrics = closing.enter_context(open_metrics(folder / "metrics.jsonl", start)) if main else None
        progress = closing.enter_context(bar("train", total, "steps", initial=start, disable=not main))
        began, batches = time.monotonic(), step_batches(plan, start, pad_id, accelerator)
        for number, step in enumerate(plan.steps[start:], start + 1):
            seed_dropout(config.seed, number - 1, accelerator.process_index)
            learnt = learn(wrapped, step, batches, objective, train, accelerator)
            # While the device still computes.
            batches = step_batches(plan, number, pad_id, accelerator)
            loss, *values, norm = learnt.tolist()
            figures = dict(zip(objective.figures, values, strict=True))
            if not (math.isfinite(loss) and math.isfinite(norm)):
                what = f"step {number}: loss {loss}, norm {norm}"
                raise_non_finite(wrapped, step, pad_id, objective, accelerator, what=what)
            rate = learning_rate(number - 1, total, train)
            update(optimizer, rate)
            measured = meter.measure(number, step, time.monotonic() - began, loss=loss, norm=norm, rate=rate)
            began = time.monotonic()
            line = asdict(measured) | figures | {f"eval_{name}": 0.0 for name in figures if plan.held_out}
            due = number % train.save_steps == 0 or number == total
            if due and plan.held_out:
                line |= held_out_loss(wrapped, plan.held_out, pad_id, objective, accelerator)
            if metrics:
                metrics.write(line)
            accelerator.log({f"train/{name}": value for name, value in line.items()}, step=number)
            mfu = f", MFU {measured.mfu:.1%}" if measured.mfu else ""
            progress.set_postfix_str(f"loss {loss:.3f}, {measured.tokens_per_s:,.0f} tokens/s{mfu}", refresh=False)
            progress.update()
            if due:
                weights = gather(trainable_parameters(model), keep=main)
                state = gather(optimizer_tensors(model, optimizer), keep=main)
                if main:
                    save_checkpoint(folder / "checkpoints", model, weights, state, number, fingerprint, config)
                accelerator.wait_for_everyone()
                began = time.monotonic()


def step_batches(plan: Plan, index: int, pad_id: int, accelerator: "Accelerator") -> list[Batch]:
    """This process's passes of step `index`, from 0; none after the last."""
    if index >= len(plan.steps):
        return []
    step = plan.steps[index]
    return [collate(rows, step.layout.width, pad_id) for rows in step.passes(accelerator.process_index)]


def build_optimizer(model: Any, train: TrainConfig, accelerator: "Accelerator") -> "torch.optim.AdamW":
    import torch

    parameters = list(trainable_parameters(model).values())
    # As everywhere: biases and the weights of norms do not decay.
    groups = [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": train.weight_decay},
        {"params": [weight for weight in parameters if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = accelerator.device.type == "cuda"
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=train.learning_rate, fused=fused)


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


def seed_dropout(seed: int, step: int, process: int) -> None:
    """Random numbers are a function of the step, so that resume needs no generator state."""
    import torch

    torch.manual_seed(random.Random(f"{seed}:{step}:{process}").getrandbits(63))


def learn(
    wrapped: Any,
    step: Step,
    batches: Sequence[Batch],
    objective: Objective,
    train: TrainConfig,
    accelerator: "Accelerator",
) -> "torch.Tensor":
    """Gradients of the step's loss, clipped. Returns loss and figures over all processes, and the norm before clipping.

    Gradients cross the network once, in the last pass, and the device is not waited for. Raises TrainingError where a
    pass does not fit in memory.
    """
    import torch

    passes = step.passes(accelerator.process_index)
    totals = torch.zeros(1 + len(objective.figures), device=accelerator.device)
    try:
        for number, (rows, batch) in enumerate(zip(passes, batches, strict=True), 1):
            examples = [example for row in rows for example in row]
            with contextlib.nullcontext() if number == len(batches) else unsynchronized(wrapped, accelerator):
                loss, figures = objective.sums(wrapped, batch.to(accelerator.device), examples)
                # DDP and FSDP average gradients over processes; the sum is wanted.
                accelerator.backward(loss * (accelerator.num_processes / objective.count(step)))
            totals += torch.cat([loss.detach()[None], figures])
    except torch.OutOfMemoryError as failure:
        raise out_of_memory(batches, train) from failure
    norm = whole(accelerator.clip_grad_norm_(list(trainable_parameters(wrapped).values()), train.max_grad_norm))
    means = accelerator.reduce(totals, "sum") / objective.count(step)
    return torch.cat([means, norm.to(means.dtype)[None]])


def unsynchronized(wrapped: Any, accelerator: "Accelerator") -> contextlib.AbstractContextManager[None]:
    return no_sync(wrapped) if is_sharded(wrapped) else accelerator.no_sync(wrapped)  # type: ignore[no-any-return]


def update(optimizer: "torch.optim.Optimizer", rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad()


def out_of_memory(batches: Sequence[Batch], train: TrainConfig) -> TrainingError:
    largest = max(batch.ids.numel() for batch in batches)
    ways = [f"train.pack_tokens={max(train.row_tokens, train.pack_tokens // 2)}"]
    ways += [] if train.checkpointing is True else ["train.checkpointing=true"]
    return TrainingError(
        f"the device's memory does not hold a pass of {largest:,} tokens",
        where="train.pack_tokens",
        todo=f"try {' or '.join(ways)}: neither changes what is learnt, and the run goes on from its checkpoint",
    )


def raise_non_finite(
    wrapped: Any, step: Step, pad_id: int, objective: Objective, accelerator: "Accelerator", *, what: str
) -> NoReturn:
    """Run each row of the step alone to find those whose loss or gradient is not finite, and stop with their names.

    Processes that share a model's weights run every row together; others only their own rows.
    """
    import torch
    from accelerate.utils import gather_object

    guilty: list[str] = []
    shares = step.layout.passes[accelerator.process_index]
    mine = [step.units[index] for rows in shares for row in rows for index in row]
    together = is_sharded(wrapped)
    model = wrapped if together else accelerator.unwrap_model(wrapped)
    parameters = list(trainable_parameters(model).values())
    with contextlib.nullcontext() if together else accelerator.no_sync(wrapped):
        for unit in step.units if together else mine:
            model.zero_grad()
            batch = collate([unit], step.layout.width, pad_id).to(accelerator.device)
            loss, _ = objective.sums(model, batch, unit)
            loss.backward()
            gradients = [whole(parameter.grad) for parameter in parameters if parameter.grad is not None]
            if not all(bool(torch.isfinite(tensor).all()) for tensor in [loss, *gradients]):
                guilty.append(unit[0].row)
    if not together:
        guilty = gather_object(guilty)
    if len(guilty) == len(step.units):
        cause, todo = "every row of the step does it: the weights are broken", "lower train.learning_rate"
    elif guilty:
        cause, todo = f"caused by {some(guilty)}", "look at these rows, mend or remove them"
    else:
        rows = some([unit[0].row for unit in step.units])
        cause, todo = f"no row does it alone; the step took {rows}", "lower train.learning_rate"
    raise TrainingError(f"not finite at {what}; {cause}", todo=todo)


def some(rows: Sequence[str], limit: int = 16) -> str:
    return ", ".join(rows[:limit]) + (f" and {len(rows) - limit} more" if len(rows) > limit else "")
