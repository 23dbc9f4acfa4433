"""The loss on held-out examples: a mean over all that it counts, not over batches."""

from collections.abc import Sequence
from typing import Any

from pacos.train.interfaces import TrainingLoss
from pacos.train.model.fsdp import reshard
from pacos.train.optimization.runtime import Runtime
from pacos.train.packing.plan import OptimizerStep


def held_out_loss(
    wrapped: Any, steps: Sequence[OptimizerStep], loss_function: TrainingLoss, runtime: Runtime
) -> dict[str, float]:
    """{"eval_loss", "eval_<figure>"} over all steps and processes, without dropout. Every process calls it."""
    import torch

    model, accelerator = runtime.unwrap(wrapped), runtime.accelerator
    totals = torch.zeros(1 + len(loss_function.figures), dtype=torch.float64, device=accelerator.device)
    model.eval()
    with torch.no_grad():
        for step in steps:
            for rows, batch in zip(step.micro_batches(runtime.process), runtime.collate_step(step), strict=True):
                examples = [example for row in rows for example in row]
                loss, figures = loss_function.sums(model, runtime.to_device(batch), examples)
                totals += torch.cat([loss[None], figures])
    model.train()
    reshard(model)
    means = accelerator.reduce(totals, "sum") / sum(loss_function.count(step.units) for step in steps)
    return dict(zip(["eval_loss", *(f"eval_{name}" for name in loss_function.figures)], means.tolist(), strict=True))
