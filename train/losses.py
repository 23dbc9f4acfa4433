"""Cross-entropy of a pack's learnt tokens: the LM head is asked only where something is learnt, a chunk at a time."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.attention import attention_arguments
from pacos.train.batches import Batch

if TYPE_CHECKING:
    import torch

# Logits computed at once by a head that learns; in float32, 256 MiB.
CHUNK = 2**26


def token_losses(model: Any, batch: Batch) -> "torch.Tensor":
    """[n] cross-entropy of each of `batch.targets`, in nats, float32 at least.

    `model` is a PeftModel, or what DDP or FSDP made of it. `use_cache=False` is part of the isolation: with a cache,
    transformers would ignore the packed positions.
    """
    causal = getattr(model, "module", model).get_base_model()
    head = causal.get_output_embeddings()
    attention = attention_arguments(batch, causal.config._attn_implementation)

    def answer(hidden: "torch.Tensor") -> "torch.Tensor":
        return head_losses(head, hidden.flatten(0, 1)[batch.learnt], batch.targets)

    with answering(head, answer):
        output = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **attention)
    losses: torch.Tensor = output.logits
    return losses


@contextlib.contextmanager
def answering(head: Any, answer: "Callable[[torch.Tensor], torch.Tensor]") -> Iterator[None]:
    """Let `answer` stand in for the LM head, inside the model's own forward pass: DDP and FSDP hook into that."""
    # An attribute of the instance hides the class's method while it is there.
    head.forward = answer
    try:
        yield
    finally:
        del head.forward


def head_losses(head: Any, hidden: "torch.Tensor", targets: "torch.Tensor") -> "torch.Tensor":
    """[n] cross-entropies of `targets` [n] given `hidden` [n, size], never with more than CHUNK logits in memory."""
    import torch
    from torch.utils.checkpoint import checkpoint

    if type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad:
        from pacos.train.frozen_head import FrozenHeadLosses

        learns = torch.is_grad_enabled() and hidden.requires_grad
        return FrozenHeadLosses.apply(hidden, head.weight, targets, learns)  # type: ignore[no-any-return]

    def losses(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = type(head).forward(head, hidden)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return torch.nn.functional.cross_entropy(logits, targets, reduction="none")

    rows = max(1, CHUNK // head.out_features)
    if len(targets) <= rows:
        return losses(hidden, targets)
    parts = [
        checkpoint(losses, part, wanted, use_reentrant=False)
        for part, wanted in zip(hidden.split(rows), targets.split(rows), strict=True)
    ]
    return torch.cat(parts)
