"""QLoRA's base: linear layers in 4 bits, NF4 with double quantisation (Dettmers et al. 2305.14314), by bitsandbytes.

Its own layer keeps the scales on a parameter of a special class, and puts such a parameter back wherever it finds
another: FSDP's shares would not survive that. On CPUs it also repacks its weight as soon as it is evaluated, and from
then on passes no gradient back. So the packed weight becomes a plain parameter here, which can be shared out like any
other, and the scales stay beside it, whole on every process: a thirtieth of its size.
"""

import importlib.util
from typing import Any

import torch

from pacos.errors import ConfigError

# Bytes a weight: packed, and its scales (2305.14314, section 3: 8 bits for 64 weights, 32 for 256 of these).
PACKED, SCALES = 0.5, 1 / 64 + 4 / (64 * 256)


def four_bits(dtype: torch.dtype) -> Any:
    """For `from_pretrained`; `dtype` is what the layers compute in. Raises ConfigError: see check_four_bits."""
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
    """Let every 4-bit layer compute by PackedForward from a plain parameter; returns how many do."""
    from bitsandbytes.nn.modules import Linear4bit

    packed: list[Any] = [module for module in model.modules() if isinstance(module, Linear4bit)]
    for layer in packed:
        layer.forward = PackedForward(layer)
        layer.weight = torch.nn.Parameter(layer.weight.data, requires_grad=False)
    return len(packed)


class PackedForward:
    """A 4-bit layer's forward, from its packed weight [out · in / 2, 1] in uint8 and the scales kept here."""

    def __init__(self, layer: Any) -> None:
        self.layer, self._scales = layer, layer.weight.quant_state

    @property
    def scales(self) -> Any:
        """bitsandbytes' QuantState, on the device where the weight is by now."""
        if self._scales.absmax.device != self.layer.weight.device:
            self._scales.to(self.layer.weight.device)
        return self._scales

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        from bitsandbytes.autograd._functions import matmul_4bit

        layer, dtype = self.layer, self.layer.compute_dtype
        bias = None if layer.bias is None else layer.bias.to(dtype)
        result = matmul_4bit(x.to(dtype), layer.weight, bias=bias, quant_state=self.scales)
        return result.to(x.dtype)  # type: ignore[no-any-return]


def scales_of(layer: Any) -> Any:
    """Of a 4-bit layer; None of any other."""
    forward = vars(layer).get("forward")
    return forward.scales if isinstance(forward, PackedForward) else None


def unpacked(weight: torch.Tensor, scales: Any) -> torch.Tensor:
    """The weight [out, in] that `weight` packs, in the precision it was packed from; itself where it has no scales."""
    if scales is None:
        return weight
    from bitsandbytes.functional import dequantize_4bit

    return dequantize_4bit(weight, scales)  # type: ignore[no-any-return]
