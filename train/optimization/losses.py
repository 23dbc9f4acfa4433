"""Cross-entropy of a pack's learnt tokens: the LM head is asked only where something is learnt, a chunk at a time."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.attention.dispatch import attention_arguments
from pacos.train.model.neftune import noisy
from pacos.train.model.structure import causal_model
from pacos.train.optimization.frozen_head import CHUNK, FrozenHeadLosses
from pacos.train.packing.batch import Batch

if TYPE_CHECKING:
    import torch


def token_losses(model: Any, batch: Batch, neftune_alpha: float = 0.0) -> "torch.Tensor":
    """[n] cross-entropy of each of `batch.targets`, in nats, float32 at least; in training with NEFTune's noise.

    `model` is a model ready to train, or what DDP or FSDP made of it. `use_cache=False` is part of the isolation:
    with a cache, transformers would ignore the packed positions.
    """
    causal = causal_model(model)
    head = causal.get_output_embeddings()
    attention = attention_arguments(batch, causal.config._attn_implementation)

    noise = neftune_alpha if model.training else 0.0

    def answer(hidden: "torch.Tensor") -> "torch.Tensor":
        return head_losses(head, hidden.flatten(0, 1)[batch.learnt], batch.targets, after)

    with contextlib.ExitStack() as during:
        after = during.enter_context(taken_over(causal.config.get_text_config()))
        during.enter_context(answering(head, answer))
        if noise:
            during.enter_context(noisy(causal.get_input_embeddings(), batch, noise))
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


@contextlib.contextmanager
def taken_over(config: Any) -> "Iterator[Callable[[torch.Tensor], torch.Tensor] | None]":
    """What a model does to its logits (Gemma caps them, Granite scales them), given to the caller to do; or None.

    Meanwhile the model does not: it would do it to the losses that stand in for its logits.
    """
    import torch

    cap, scale = getattr(config, "final_logit_softcapping", None), getattr(config, "logits_scaling", None)

    def after(logits: torch.Tensor) -> torch.Tensor:
        logits = logits / scale if scale else logits
        return cap * torch.tanh(logits / cap) if cap else logits

    try:
        if cap:
            config.final_logit_softcapping = None
        if scale:
            config.logits_scaling = 1.0
        yield after if cap or scale else None
    finally:
        if cap:
            config.final_logit_softcapping = cap
        if scale:
            config.logits_scaling = scale


def head_losses(
    head: Any,
    hidden: "torch.Tensor",
    targets: "torch.Tensor",
    after: "Callable[[torch.Tensor], torch.Tensor] | None" = None,
) -> "torch.Tensor":
    """[n] cross-entropies of `targets` [n] given `hidden` [n, size], never with more than CHUNK logits in memory."""
    import torch
    from torch.utils.checkpoint import checkpoint

    if not after and type(head) is torch.nn.Linear and head.bias is None and not head.weight.requires_grad:
        learns = torch.is_grad_enabled() and hidden.requires_grad
        return FrozenHeadLosses.apply(hidden, head.weight, targets, learns)  # type: ignore[no-any-return]

    def losses(hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = type(head).forward(head, hidden)
        logits = after(logits) if after else logits
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
