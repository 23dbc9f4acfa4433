"""The loss on examples that are never trained on: a mean over all their learnt tokens, not over batches."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pacos.train.batches import collate
from pacos.train.losses import summed_loss
from pacos.train.plan import Step
from pacos.train.sharding import is_sharded, reshard

if TYPE_CHECKING:
    from accelerate import Accelerator


def held_out_loss(wrapped: Any, steps: Sequence[Step], pad_id: int, accelerator: "Accelerator") -> float:
    """Nats per learnt token over all steps and processes; without dropout. Every process calls it."""
    import torch

    model = wrapped if is_sharded(wrapped) else accelerator.unwrap_model(wrapped)
    total = torch.zeros((), dtype=torch.float64, device=accelerator.device)
    model.eval()
    with torch.no_grad():
        for step in steps:
            for rows in step.passes(accelerator.process_index):
                total += summed_loss(model, collate(rows, step.layout.width, pad_id).to(accelerator.device))
    model.train()
    reshard(model)
    return float(accelerator.reduce(total, "sum")) / sum(step.response_tokens for step in steps)
