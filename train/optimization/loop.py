"""The training loop: optimizer steps with metrics, checkpoints, resume, and errors that name their cause."""

import contextlib
import logging
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config, TrainConfig
from pacos.errors import TrainingError
from pacos.progress import bar
from pacos.results import plain
from pacos.results.training import BestStep
from pacos.train.interfaces import objective_of
from pacos.train.model.fsdp import full_tensor, full_tensors, is_sharded, no_sync
from pacos.train.model.structure import causal_model, flops_per_token, trainable_parameters
from pacos.train.optimization.checkpoints import (
    Checkpoint,
    load_best_weights,
    load_last_checkpoint,
    optimizer_tensors,
    restore,
    restore_weights,
    save_checkpoint,
)
from pacos.train.optimization.held_out import held_out_loss
from pacos.train.optimization.metrics import Meter, open_metrics, peak_flops
from pacos.train.optimization.non_finite import non_finite_error
from pacos.train.optimization.runtime import Runtime
from pacos.train.packing.batch import Batch
from pacos.train.packing.plan import OptimizerStep, TrainingPlan

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def learning_rate(step: int, total: int, train: TrainConfig) -> float:
    """The rate of step 0 … total-1, as transformers' schedulers give it: warm-up from 0, then decay to its end."""
    peak = float(train.learning_rate)
    warmup = min(math.ceil(train.warmup_ratio * total), total - 1)
    if step < warmup:
        return peak * step / warmup
    progress = (step - warmup) / (total - warmup)
    shape = {"constant": 1.0, "linear": 1 - progress, "cosine": (1 + math.cos(math.pi * progress)) / 2}
    return peak * (train.min_lr_ratio + (1 - train.min_lr_ratio) * shape[train.schedule])


class Trainer:
    """Trains one model. Every process has one and calls the same methods in the same order."""

    def __init__(self, model: Any, config: Config, runtime: Runtime) -> None:
        self.model, self.config, self.train, self.runtime = model, config, config.train, runtime
        self.accelerator = runtime.accelerator
        self.best: BestStep | None = None
        self.loss = objective_of(config.train).loss(config.train)
        self.optimizer = build_optimizer(model, config.train, fused=runtime.accelerator.device.type == "cuda")

    def run(self, plan: TrainingPlan, folder: Path, fingerprint: dict[str, Any]) -> BestStep | None:
        """Train to the plan's end, from the last complete checkpoint in `folder` if there is one.

        Writes `metrics.jsonl` and `checkpoints/` there. Returns the step whose weights the model has with
        `train.keep_best`; None without, where they are the last step's. Raises TrainingError for a non-finite loss or
        gradient, and RunError where the checkpoints belong to another run or the best one is damaged.
        """
        total, is_main = len(plan.steps), self.runtime.is_main
        start = self.resume(folder / "checkpoints", fingerprint)
        self.wrapped = self.model if is_sharded(self.model) else self.accelerator.prepare(self.model)
        meter = Meter(flops_per_token(self.model), peak_flops(self.accelerator), plan.steps_per_epoch)
        with contextlib.ExitStack() as stack:
            metrics = stack.enter_context(open_metrics(folder / "metrics.jsonl", start)) if is_main else None
            progress = stack.enter_context(bar("train", total, "steps", initial=start, disable=not is_main))
            began, batches = time.monotonic(), self.collate(plan, start)
            for number, step in enumerate(plan.steps[start:], start + 1):
                seed_step(self.config.seed, number - 1, self.runtime.process)
                results = self.compute_gradients(step, batches)
                # While the device is still computing.
                batches = self.collate(plan, number)
                loss, figures, norm = self.check_finite(results.tolist(), number, step)
                rate = learning_rate(number - 1, total, self.train)
                self.apply_gradients(rate)
                measured = meter.measure(number, step, time.monotonic() - began, loss=loss, norm=norm, rate=rate)
                began = time.monotonic()
                line = plain(measured) | figures
                is_due = number % self.train.save_steps == 0 or number == total
                if plan.held_out:
                    not_measured = {f"eval_{name}": 0.0 for name in figures}
                    line |= self.evaluate(plan.held_out, number) if is_due else not_measured
                if metrics:
                    metrics.write(line)
                self.accelerator.log({f"train/{name}": value for name, value in line.items()}, step=number)
                mfu = f", MFU {measured.mfu:.1%}" if measured.mfu else ""
                progress.set_postfix_str(f"loss {loss:.3f}, {measured.tokens_per_s:,.0f} tokens/s{mfu}", refresh=False)
                progress.update()
                if is_due:
                    self.save(folder / "checkpoints", number, fingerprint)
                    began = time.monotonic()
        self.restore_best(folder / "checkpoints")
        return self.best

    def resume(self, folder: Path, fingerprint: dict[str, Any]) -> int:
        """Restore the last complete checkpoint on every process; returns the steps done. Only the main one reads."""
        from accelerate.utils import broadcast_object_list

        found = [load_last_checkpoint(folder, fingerprint) if self.runtime.is_main else None]
        broadcast_object_list(found)
        checkpoint = found[0]
        if checkpoint is None:
            return 0
        restore(self.model, self.optimizer, checkpoint)
        self.best = checkpoint.best
        if self.runtime.is_main:
            log.info("resuming after step %d", checkpoint.step)
        return checkpoint.step

    def collate(self, plan: TrainingPlan, index: int) -> list[Batch]:
        """This process's micro-batches of step `index`, from 0; none after the last."""
        return self.runtime.collate_step(plan.steps[index]) if index < len(plan.steps) else []

    def compute_gradients(self, step: OptimizerStep, batches: Sequence[Batch]) -> "torch.Tensor":
        """Compute and clip the gradients of a step's loss; returns [loss, figures …, norm before clipping].

        Loss and figures are those of all processes. Gradients cross the network once, in the last micro-batch, and the
        device is not waited for. Raises TrainingError where a micro-batch does not fit in memory.
        """
        import torch

        accelerator, count = self.accelerator, self.loss.count(step.units)
        micro_batches = step.micro_batches(self.runtime.process)
        totals = torch.zeros(1 + len(self.loss.figures), device=accelerator.device)
        try:
            for number, (rows, batch) in enumerate(zip(micro_batches, batches, strict=True), 1):
                examples = [example for row in rows for example in row]
                with contextlib.nullcontext() if number == len(batches) else self.without_sync():
                    loss, figures = self.loss.sums(self.wrapped, self.runtime.to_device(batch), examples)
                    # DDP and FSDP average gradients over processes; the sum is wanted.
                    accelerator.backward(loss * (accelerator.num_processes / count))
                totals += torch.cat([loss.detach()[None], figures])
        except torch.OutOfMemoryError as failure:
            raise self.out_of_memory(batches) from failure
        parameters = list(trainable_parameters(self.wrapped).values())
        norm = full_tensor(accelerator.clip_grad_norm_(parameters, self.train.max_grad_norm))
        means = accelerator.reduce(totals, "sum") / count
        return torch.cat([means, norm.to(means.dtype)[None]])

    def without_sync(self) -> contextlib.AbstractContextManager[None]:
        """Accumulate gradients on each process without reducing them."""
        return no_sync(self.wrapped) if is_sharded(self.wrapped) else self.accelerator.no_sync(self.wrapped)

    def check_finite(
        self, results: list[float], number: int, step: OptimizerStep
    ) -> tuple[float, dict[str, float], float]:
        """(loss, figures by name, norm) of a step. Raises TrainingError where loss or norm is not finite."""
        loss, *values, norm = results
        if not (math.isfinite(loss) and math.isfinite(norm)):
            what = f"step {number}: loss {loss}, norm {norm}"
            raise non_finite_error(self.wrapped, step, self.loss, self.runtime, what)
        return loss, dict(zip(self.loss.figures, values, strict=True)), norm

    def apply_gradients(self, rate: float) -> None:
        """One optimizer step at this learning rate. Raises TrainingError for a rate beyond float32."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            self.optimizer.step()
        except RuntimeError as failure:
            if "overflow" not in str(failure):
                raise
            raise TrainingError(
                f"not finite: AdamW's step at a rate of {rate:g}", todo="lower train.learning_rate"
            ) from failure
        self.optimizer.zero_grad()

    def evaluate(self, held_out: Sequence[OptimizerStep], number: int) -> dict[str, float]:
        """Loss and figures on the held-out examples after step `number`, which may be the best so far.

        Raises TrainingError for a loss that is not finite.
        """
        measured = held_out_loss(self.wrapped, held_out, self.loss, self.runtime)
        loss = measured["eval_loss"]
        if not math.isfinite(loss):
            raise TrainingError(
                f"step {number}: the loss on the held-out examples is {loss}",
                where="train.eval_examples",
                todo="lower train.learning_rate",
            )
        if self.train.keep_best and (self.best is None or loss < self.best.eval_loss):
            self.best = BestStep(number, loss)
        return measured

    def save(self, folder: Path, step: int, fingerprint: dict[str, Any]) -> None:
        """Save a checkpoint; every process takes part in gathering it, the main one writes."""
        is_main = self.runtime.is_main
        weights = full_tensors(trainable_parameters(self.model), keep=is_main)
        state = full_tensors(optimizer_tensors(self.model, self.optimizer), keep=is_main)
        if is_main:
            checkpoint = Checkpoint(step, fingerprint, weights, state, self.best)
            save_checkpoint(folder, checkpoint, self.model, self.config)
        self.accelerator.wait_for_everyone()

    def restore_best(self, folder: Path) -> None:
        """Give the model the weights of the best step, if one is kept. Only the main process reads them."""
        from accelerate.utils import broadcast_object_list

        if self.best is None:
            return
        found = [load_best_weights(folder, self.best) if self.runtime.is_main else {}]
        broadcast_object_list(found)
        restore_weights(self.model, found[0])
        if self.runtime.is_main:
            log.info("train: keeping step %d, held-out loss %.4f", self.best.step, self.best.eval_loss)

    def out_of_memory(self, batches: Sequence[Batch]) -> TrainingError:
        """The error for a micro-batch that does not fit in memory, with settings that need less."""
        largest, train = max(batch.ids.numel() for batch in batches), self.train
        ways = [f"train.pack_tokens={max(train.row_tokens, train.pack_tokens // 2)}"]
        ways += [] if causal_model(self.model).is_gradient_checkpointing else ["train.checkpointing=true"]
        return TrainingError(
            f"a micro-batch of {largest:,} tokens does not fit in the device's memory",
            where="train.pack_tokens",
            todo=f"try {' or '.join(ways)}: neither changes the result, and the run resumes from its checkpoint",
        )


def build_optimizer(model: Any, train: TrainConfig, *, fused: bool) -> "torch.optim.AdamW":
    """AdamW over the trainable parameters; biases and the weights of norms do not decay, as is usual."""
    import torch

    parameters = list(trainable_parameters(model).values())
    groups = [
        {"params": [weight for weight in parameters if weight.dim() > 1], "weight_decay": train.weight_decay},
        {"params": [weight for weight in parameters if weight.dim() <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=float(train.learning_rate), fused=fused)


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch as a function of the step, so that resuming needs no generator state."""
    import torch

    torch.manual_seed(random.Random(f"{seed}:{step}:{process}").getrandbits(63))
