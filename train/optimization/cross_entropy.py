"""Cross-entropy of a micro-batch's labels: the LM head is applied only to label positions, in chunks."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.attention.dispatch import attention_arguments
from pacos.train.model.neftune import neftune_noise
from pacos.train.model.structure import CHUNK_LOGITS, causal_model
from pacos.train.packing.batch import Batch

if TYPE_CHECKING:
    import torch


def token_losses(model: Any, batch: Batch, neftune_alpha: float = 0.0) -> "torch.Tensor":
    """[n] cross-entropy of each of `batch.labels`, in nats, at least float32; in training mode with NEFTune's noise.

    `model` is a model ready to train, or its DDP or FSDP wrapper. `use_cache=False` is required: with a cache,
    transformers would ignore the packed positions.
    """
    causal = causal_model(model)
    head = causal.get_output_embeddings()
    attention = attention_arguments(batch, causal.config._attn_implementation)

    def losses_of(hidden: "torch.Tensor") -> "torch.Tensor":
        return head_losses(head, hidden.flatten(0, 1)[batch.label_positions], batch.labels, transform)

    with contextlib.ExitStack() as stack:
        transform = stack.enter_context(deferred_logit_transform(causal.config.get_text_config()))
        stack.enter_context(replaced_head(head, losses_of))
        if neftune_alpha and model.training:
            stack.enter_context(neftune_noise(causal.get_input_embeddings(), batch, neftune_alpha))
        output = model(input_ids=batch.ids, position_ids=batch.positions, use_cache=False, **attention)
    losses: torch.Tensor = output.logits
    return losses


@contextlib.contextmanager
def replaced_head(head: Any, forward: "Callable[[torch.Tensor], torch.Tensor]") -> Iterator[None]:
    """Replace the LM head's forward inside the model's own forward, which DDP and FSDP hook into."""
    # An attribute of the instance hides the class's method.
    head.forward = forward
    try:
        yield
    finally:
        del head.forward


@contextlib.contextmanager
def deferred_logit_transform(config: Any) -> "Iterator[Callable[[torch.Tensor], torch.Tensor] | None]":
    """Switch off the model's own transformation of its logits, and yield it as a function; None where it has none.

    Gemma caps its logits, Granite scales them. While the head returns losses, the model would transform those instead.
    """
    import torch

    cap, scale = getattr(config, "final_logit_softcapping", None), getattr(config, "logits_scaling", None)

    def transform(logits: torch.Tensor) -> torch.Tensor:
        logits = logits / scale if scale else logits
        return cap * torch.tanh(logits / cap) if cap else logits

    try:
        if cap:
            config.final_logit_softcapping = None
        if scale:
            config.logits_scaling = 1.0
        yield transform if cap or scale else None
    finally:
        if cap:
            config.final_logit_softcapping = cap
        if scale:
            config.logits_scaling = scale


def head_losses(
    head: Any,
    hidden: "torch.Tensor",
    labels: "torch.Tensor",
    transform: "Callable[[torch.Tensor], torch.Tensor] | None" = None,
) -> "torch.Tensor":
    """[n] cross-entropies of `labels` [n] given `hidden` [n, size], never with more than CHUNK_LOGITS in memory."""
    import torch
    from torch.utils.checkpoint import checkpoint

    from pacos.train.optimization.frozen_head import FrozenHeadLosses

    if not transform and type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad:
        needs_gradient = torch.is_grad_enabled() and hidden.requires_grad
        return FrozenHeadLosses.apply(hidden, head.weight, labels, needs_gradient)

    def losses(hidden: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = type(head).forward(head, hidden)
        logits = transform(logits) if transform else logits
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return torch.nn.functional.cross_entropy(logits, labels, reduction="none")

    rows = max(1, CHUNK_LOGITS // head.out_features)
    if len(labels) <= rows:
        return losses(hidden, labels)
    parts = [
        checkpoint(losses, part, part_labels, use_reentrant=False)
        for part, part_labels in zip(hidden.split(rows), labels.split(rows), strict=True)
    ]
    return torch.cat(parts)
