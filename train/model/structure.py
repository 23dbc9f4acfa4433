"""Finds parts of a transformers model, whatever PEFT, DDP or FSDP wrapped around it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Logits computed at once; in float32, 256 MiB. With few rows at a time a matrix product is slow.
CHUNK_LOGITS = 2**26


def causal_model(model: Any) -> Any:
    """transformers' model inside its PEFT, DDP or FSDP wrapper."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def trainable_parameters(model: Any) -> dict[str, "torch.nn.Parameter"]:
    """The parameters that are trained, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def flops_per_token(model: Any) -> int:
    """Matrix-product FLOPs to train one token: forward 2N, activation gradients 2N, and 2N where weights are trained.

    N counts the weights of linear layers; an embedding look-up multiplies nothing. Recomputed activations are not
    counted.
    """
    import torch

    linear = {
        # A 4-bit weight has half as many elements as it multiplies by.
        id(module.weight): module.in_features * module.out_features
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    }
    adapted = hasattr(getattr(model, "module", model), "peft_config")
    return (4 if adapted else 6) * sum(linear.values())
