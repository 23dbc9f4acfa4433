"""Tells how much of a model LoRA leaves as it is, where all of its linear layers were meant."""

from typing import Any

# Share of the layers' weights from which it is said. Routers and convolutions are less, experts are most of a model.
WORTH_SAYING = 0.05


def untouched_warning(model: Any) -> str:
    """What to say of a PeftModel on "all-linear" with much that has no adapter, such as experts; "" for nothing."""
    share, largest = untouched_weights(model)
    if share < WORTH_SAYING:
        return ""
    return (
        f"LoRA leaves {share:.0%} of the layers' weights as they are, {largest} the largest: PEFT does not count them "
        "among this model's linear layers; train.lora.targets or extra.target_parameters can name them"
    )


def untouched_weights(model: Any) -> tuple[float, str]:
    """(share of a PeftModel's weight matrices that have no adapter and are not trained, the largest one's name).

    Embeddings and the head do not count.
    """
    import torch
    from peft.tuners.lora.layer import LoraLayer, ParamWrapper

    base = model.get_base_model()
    head = base.get_output_embeddings()
    passed_over = {id(part.weight) for part in base.modules() if isinstance(part, torch.nn.Embedding) or part is head}
    adapted = set[int]()
    for part in base.modules():
        if isinstance(part, ParamWrapper):
            adapted.add(id(part.get_param()))
        elif isinstance(part, LoraLayer):
            adapted.add(id(getattr(part.get_base_layer(), "weight", None)))
    matrices = {
        name: weight
        for name, weight in base.named_parameters()
        if weight.dim() > 1 and not weight.requires_grad and id(weight) not in passed_over
    }
    left = [name for name, weight in matrices.items() if id(weight) not in adapted]
    total = sum(weight.numel() for weight in matrices.values())
    largest = max(left, key=lambda name: matrices[name].numel(), default="")
    return sum(matrices[name].numel() for name in left) / max(total, 1), largest
