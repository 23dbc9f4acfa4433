"""The loss on examples that are never trained on: a mean over all that it counts, not over batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pacos.train.model.fsdp import is_sharded, reshard
from pacos.train.optimization.objectives import Objective
from pacos.train.packing.batch import collate
from pacos.train.packing.plan import Step

if TYPE_CHECKING:
    from accelerate import Accelerator


def held_out_loss(
    wrapped: Any, steps: Sequence[Step], pad_id: int, objective: Objective, accelerator: "Accelerator"
) -> dict[str, float]:
    """The objective's loss and figures over all steps and processes, without dropout. Every process calls it."""
    import torch

    model = wrapped if is_sharded(wrapped) else accelerator.unwrap_model(wrapped)
    totals = torch.zeros(1 + len(objective.figures), dtype=torch.float64, device=accelerator.device)
    model.eval()
    with torch.no_grad():
        for step in steps:
            for rows in step.passes(accelerator.process_index):
                batch = collate(rows, step.layout.width, pad_id).to(accelerator.device)
                loss, figures = objective.sums(model, batch, [example for row in rows for example in row])
                totals += torch.cat([loss[None], figures])
    model.train()
    reshard(model)
    means = accelerator.reduce(totals, "sum") / sum(objective.count(step) for step in steps)
    return dict(zip(["eval_loss", *(f"eval_{name}" for name in objective.figures)], means.tolist(), strict=True))
