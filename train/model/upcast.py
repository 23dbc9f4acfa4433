"""Runs a bfloat16 model in float32, with the values that its weights have: one layer is cast at a time.

Rounding in bfloat16 hides differences of several percent. In float32 the same weights show them, at the memory of one
layer.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.model.structure import causal_model

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def in_float32(model: Any) -> Iterator[None]:
    """Compute in float32 inside; for inference only, and not for sharded weights."""
    import torch

    causal = causal_model(model)
    # Full tuning holds float32 weights under autocast, an attribute that hides the class's forward.
    autocast = vars(causal).pop("forward", None)
    hooks, before = [], dict[torch.Tensor, torch.Tensor]()

    def cast(module: Any, *given: Any) -> None:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor.dtype == torch.bfloat16 and tensor not in before:
                before[tensor] = tensor.data
                tensor.data = tensor.data.float()

    def restore(module: Any, *given: Any) -> None:
        for tensor in (*module.parameters(), *module.buffers()):
            if tensor in before:
                tensor.data = before.pop(tensor)

    for module in units(causal):
        hooks += [module.register_forward_pre_hook(cast), module.register_forward_hook(restore, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for tensor, value in before.items():
            tensor.data = value
        if autocast is not None:
            causal.forward = autocast


def units(model: Any) -> "list[torch.nn.Module]":
    """Layers of the model's lists of layers, and every other module that holds weights itself or has no parts.

    A layer is cast whole, because its modules use one another's weights.
    """
    import torch

    found: list[torch.nn.Module] = []

    def descend(module: "torch.nn.Module") -> None:
        for child in module.children():
            if isinstance(child, torch.nn.ModuleList):
                found.extend(child)
            elif any(isinstance(part, torch.nn.ModuleList) for part in child.modules()):
                descend(child)
            else:
                found.append(child)

    descend(model)
    return found
