"""Cross-entropy of a micro-batch's labels: the LM head is applied only to label positions, in chunks.

That is possible where the head is the last thing that the model computes. A model that goes on to transform its logits
(a scale, a cap) is asked for these, at the label positions.
"""

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.attention.dispatch import model_inputs
from pacos.train.model.neftune import neftune_noise
from pacos.train.model.structure import CHUNK_LOGITS, causal_model
from pacos.train.packing.batch import Batch

if TYPE_CHECKING:
    import torch

# Whether a model's forward returns what its head does; found at its first loss.
_ends_in_head: "weakref.WeakKeyDictionary[torch.nn.Module, bool]" = weakref.WeakKeyDictionary()


def token_losses(model: Any, batch: Batch, neftune_alpha: float = 0.0) -> "torch.Tensor":
    """[n] cross-entropy of each of `batch.labels`, in nats, at least float32; in training mode with NEFTune's noise.

    `model` is a model ready to train, or its DDP or FSDP wrapper.
    """
    causal = causal_model(model)
    inputs = model_inputs(causal, batch)
    with contextlib.ExitStack() as stack:
        if neftune_alpha and model.training:
            stack.enter_context(neftune_noise(causal.get_input_embeddings(), batch, neftune_alpha))
        if not ends_in_head(model, causal, inputs):
            return logit_losses(label_logits(model, causal, inputs, batch), batch.labels)
        head = causal.get_output_embeddings()
        transform = stack.enter_context(deferred_logit_transform(causal.config.get_text_config()))

        def losses_of(hidden: "torch.Tensor") -> "torch.Tensor":
            return head_losses(head, hidden.flatten(0, 1)[batch.label_positions], batch.labels, transform)

        stack.enter_context(replaced_head(head, losses_of))
        losses: torch.Tensor = model(**inputs).logits
        return losses


def ends_in_head(model: Any, causal: Any, inputs: dict[str, Any]) -> bool:
    """Whether the forward of `model` returns as its logits whatever its head returns.

    Found by a head that returns known numbers, large and small, of the shape that `head_losses` has.
    """
    import torch

    if causal not in _ends_in_head:
        head = causal.get_output_embeddings()
        if head is None:
            _ends_in_head[causal] = False
            return False
        shape = inputs["input_ids"].shape
        known = torch.linspace(-3e4, 3e4, 7, device=inputs["input_ids"].device)
        with (
            torch.no_grad(),
            deferred_logit_transform(causal.config.get_text_config()),
            replaced_head(head, lambda hidden: known.clone() if hidden.shape[:2] == shape else hidden),
        ):
            try:
                found = model(**inputs).logits
            except torch.OutOfMemoryError:
                raise
            except Exception:  # What a model's own code does to logits of another shape can raise anything.
                found = None
        _ends_in_head[causal] = found is not None and found.shape == known.shape and torch.equal(found, known)
    return _ends_in_head[causal]


def label_logits(model: Any, causal: Any, inputs: dict[str, Any], batch: Batch) -> "torch.Tensor":
    """[n, vocabulary] the model's own logits at the label positions; its head computes no others."""
    head, selected = causal.get_output_embeddings(), False

    def logits_of(hidden: "torch.Tensor") -> "torch.Tensor":
        nonlocal selected
        if selected := hidden.shape[:2] == batch.ids.shape:
            hidden = hidden.flatten(0, 1)[batch.label_positions][None]
        logits: torch.Tensor = type(head).forward(head, hidden)
        return logits

    with replaced_head(head, logits_of) if head is not None else contextlib.nullcontext():
        logits: torch.Tensor = model(**inputs).logits
    return logits[0] if selected else logits.flatten(0, 1)[batch.label_positions]


def logit_losses(logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
    """[n] cross-entropies of `labels` [n] under `logits` [n, vocabulary], at least float32."""
    import torch

    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


@contextlib.contextmanager
def replaced_head(head: Any, forward: "Callable[[torch.Tensor], torch.Tensor]") -> Iterator[None]:
    """Replace the LM head's forward inside the model's own forward, which DDP and FSDP hook into."""
    # An attribute of the instance hides the class's method; a fused layer has one already.
    own = vars(head).get("forward")
    head.forward = forward
    try:
        yield
    finally:
        del head.forward
        if own is not None:
            head.forward = own


@contextlib.contextmanager
def deferred_logit_transform(config: Any) -> "Iterator[Callable[[torch.Tensor], torch.Tensor] | None]":
    """Switch off the model's own transformation of its logits, and yield it as a function; None where it has none.

    Gemma caps its logits, Granite scales them. While the head returns losses, the model would transform those instead.
    A model whose configuration takes no other value keeps its transformation.
    """
    import torch

    cap, scale = getattr(config, "final_logit_softcapping", None), getattr(config, "logits_scaling", None)
    off = ({"final_logit_softcapping": None} if cap else {}) | ({"logits_scaling": 1.0} if scale else {})

    def transform(logits: torch.Tensor) -> torch.Tensor:
        logits = logits / scale if scale else logits
        return cap * torch.tanh(logits / cap) if cap else logits

    changed: dict[str, Any] = {}
    try:
        # A strict configuration refuses a value or an attribute by an error of its own.
        with contextlib.suppress(Exception):
            for name, value in off.items():
                before = getattr(config, name)
                setattr(config, name, value)
                changed[name] = before
        yield transform if changed.keys() == off.keys() and off else None
    finally:
        for name, before in changed.items():
            setattr(config, name, before)


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
        return logit_losses(transform(logits) if transform else logits, labels)

    rows = max(1, CHUNK_LOGITS // len(head.weight))
    if len(labels) <= rows:
        return losses(hidden, labels)
    parts = [
        checkpoint(losses, part, part_labels, use_reentrant=False)
        for part, part_labels in zip(hidden.split(rows), labels.split(rows), strict=True)
    ]
    return torch.cat(parts)
