"""Tells adapters that could not be trained from those that should have been.

PEFT adapts every linear layer, used or not: a decoder's attention to an encoder that is not there, a layer that passes
no gradient. An adapter that stayed as it was is a fault only where PEFT's own layers would have given it a gradient.
"""

import logging
from typing import Any

from pacos.train.attention.dispatch import accepted, plain_attention
from pacos.train.model.fsdp import is_sharded
from pacos.train.model.structure import causal_model, trainable_parameters

log = logging.getLogger("pacos")

PROBE_TOKENS = 32


def blameless_adapters(model: Any) -> set[str]:
    """Names, as PEFT saves them, of the adapters' weights that get a gradient wherever PEFT's own layers give one.

    Measured on a short text, in training mode, as Gemma 3n passes some of its layers by. None for a sharded model.
    """
    if is_sharded(model):
        return set()
    was_training = model.training
    model.train()
    trained = reached(model)
    fused = {layer: vars(layer).pop("forward") for layer in model.modules() if is_fused(layer)}
    try:
        expected = reached(model)
    finally:
        model.train(was_training)
        for layer, forward in fused.items():
            layer.forward = forward
    [adapter] = model.peft_config
    every = trainable_parameters(model).keys()
    if unused := len(every - expected):
        log.info("train: %d weights of adapters belong to layers that pass no gradient", unused)
    return {name.replace(f".{adapter}", "") for name in every if name in trained or name not in expected}


def is_fused(layer: Any) -> bool:
    """Whether a LoRA layer has a forward of its own in place of PEFT's."""
    return hasattr(layer, "lora_A") and "forward" in vars(layer)


def reached(model: Any) -> set[str]:
    """Names of the trainable parameters that get a gradient from the logits of a short text."""
    import torch

    parameters = trainable_parameters(model)
    ids = torch.arange(PROBE_TOKENS, device=model.device)[None] % model.get_input_embeddings().weight.shape[0]
    with torch.random.fork_rng(), torch.enable_grad(), plain_attention(model):
        torch.manual_seed(0)
        logits = model(**accepted(causal_model(model), {"input_ids": ids, "use_cache": False})).logits
        loss = logits.float().log_softmax(-1)[..., 0].sum()
        gradients = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return {name for name, gradient in pairs if gradient is not None and bool(gradient.any())}
