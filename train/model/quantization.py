"""QLoRA's base: linear layers in 4 bits, NF4 with double quantisation (Dettmers et al. 2305.14314), by bitsandbytes.

bitsandbytes' layer keeps the scales on a parameter of a special class and restores that class wherever it finds
another, which FSDP's shards would not survive. On CPUs it also repacks its weight in evaluation mode, and from then on
passes no gradient back. So the packed weight becomes a plain parameter here, which can be sharded like any other; the
scales stay beside it, unsharded on every process: a thirtieth of its size.
"""

import importlib.util
from typing import Any

import torch

from pacos.errors import ConfigError


def nf4_config(dtype: torch.dtype) -> Any:
    """`quantization_config` of `from_pretrained` for layers that compute in `dtype`. Raises as check_four_bits."""
    from transformers import BitsAndBytesConfig

    check_four_bits()
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def check_four_bits() -> None:
    """Raises ConfigError without an NVIDIA GPU or bitsandbytes."""
    if not torch.cuda.is_available():
        raise ConfigError("qlora needs an NVIDIA GPU", where="train.method", todo="use train.method=lora here")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError("qlora needs bitsandbytes", where="train.method", todo="pip install 'pacos[gpu]'")


def plain_parameters(model: Any) -> int:
    """Make every 4-bit layer compute by PackedForward from a plain parameter; returns the number of layers."""
    from bitsandbytes.nn.modules import Linear4bit

    packed: list[Any] = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in packed:
        layer.forward = PackedForward(layer)
        layer.weight = torch.nn.Parameter(layer.weight.data, requires_grad=False)
    return len(packed)


class PackedForward:
    """A 4-bit layer's forward from its packed weight [out · in / 2, 1] in uint8; keeps the quantisation state."""

    def __init__(self, layer: Any) -> None:
        self.layer, self._state = layer, layer.weight.quant_state

    @property
    def state(self) -> Any:
        """bitsandbytes' QuantState, on the weight's device."""
        if self._state.absmax.device != self.layer.weight.device:
            self._state.to(self.layer.weight.device)
        return self._state

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        from bitsandbytes.autograd._functions import matmul_4bit

        layer, dtype = self.layer, self.layer.compute_dtype
        bias = None if layer.bias is None else layer.bias.to(dtype)
        result: torch.Tensor = matmul_4bit(x.to(dtype), layer.weight, bias=bias, quant_state=self.state)
        return result.to(x.dtype)


def quantization_state(layer: Any) -> Any:
    """The quantisation state of a 4-bit layer; None for any other."""
    forward = vars(layer).get("forward")
    return forward.state if isinstance(forward, PackedForward) else None


def dequantized(weight: torch.Tensor, state: Any) -> torch.Tensor:
    """The weight [out, in] of a packed one, in the precision it was quantised from; unchanged without a state."""
    if state is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight, state)
