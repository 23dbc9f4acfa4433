"""What lies where in a transformers model, whatever PEFT, DDP or FSDP wrapped around it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def causal_model(model: Any) -> Any:
    """transformers' model inside what PEFT, DDP or FSDP made of it."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def trainable_parameters(model: Any) -> dict[str, "torch.nn.Parameter"]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def flops_per_token(model: Any) -> int:
    """Matrix-product FLOPs to train one token: forward 2N, activation gradients 2N, and 2N where weights are trained.

    N counts the weights of linear layers; looking up an embedding multiplies nothing. Recomputed activations
    are no progress and are not counted.
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
