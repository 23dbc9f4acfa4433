"""LoRA's linear layer as one function: base product and low-rank update together, in the base's precision.

PEFT's own forward casts every input to the adapters' float32, keeps the cast for the backward pass, and adds the update
in passes of its own. Here the adapters are cast, which are small; the update is added inside its matrix product; and
what is kept for the backward pass is the input as it is and the rank-r product. PEFT's modules own the parameters, so
that saving, merging and switching adapters stay PEFT's.
"""

import math
from typing import Any

import torch

from pacos.errors import TrainingError
from pacos.train.model.quantization import scales_of, unpacked
from pacos.train.model.rounding import beyond_rounding

# Rows of the start-up check's input.
PROBES = 16


class FusedLora(torch.autograd.Function):
    """x W' + bias + scaling · x A' B', for a frozen W [out, in]; A [r, in] and B [out, r] learn. A `weight` in 4 bits
    comes with its scales, and is unpacked again for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: Any, scales: Any, bias: Any, a: torch.Tensor, b: torch.Tensor, scaling: float
    ) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ a.to(x.dtype).t()
        result = torch.nn.functional.linear(flat, unpacked(weight, scales), bias)
        result.addmm_(low, b.to(x.dtype).t(), alpha=scaling)
        ctx.save_for_backward(flat, low, weight, a, b)
        ctx.scales, ctx.scaling = scales, scaling
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        flat, low, weight, a, b = ctx.saved_tensors
        above = upstream[0].reshape(-1, upstream[0].shape[-1])
        through_b = (above @ b.to(above.dtype)).mul_(ctx.scaling)
        grad_x = grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            through_base = above @ unpacked(weight, ctx.scales)
            grad_x = through_base.addmm_(through_b, a.to(above.dtype)).view(*upstream[0].shape[:-1], -1)
        if ctx.needs_input_grad[4]:
            grad_a = (through_b.t() @ flat).to(a.dtype)
        if ctx.needs_input_grad[5]:
            grad_b = (above.t() @ low).mul_(ctx.scaling).to(b.dtype)
        return grad_x, None, None, None, grad_a, grad_b, None


def fuse_lora(model: Any) -> int:
    """Let every plain LoRA layer of a PeftModel compute by FusedLora; returns how many do.

    A layer with dropout, a variant of LoRA, or another base than a frozen torch.nn.Linear, whole or in 4 bits, keeps
    PEFT's forward.
    """
    from peft.tuners.lora.layer import LoraLayer

    fused = [module for module in model.modules() if isinstance(module, LoraLayer) and is_plain(module)]
    for layer in fused:
        # An attribute of the instance hides the class's method.
        layer.forward = FusedForward(layer)
    return len(fused)


def is_plain(layer: Any) -> bool:
    [adapter] = layer.lora_A
    base = layer.base_layer
    return (
        (type(base) is torch.nn.Linear or scales_of(base) is not None)
        and not base.weight.requires_grad
        and not (base.bias is not None and base.bias.requires_grad)
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
        and not layer.lora_variant
        and layer.lora_B[adapter].bias is None
        and not layer.fan_in_fan_out
    )


class FusedForward:
    """A layer's forward; PEFT's own while its adapter is merged, disabled or chosen by row."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        [self.adapter] = layer.lora_A

    def __call__(self, x: torch.Tensor, **options: Any) -> torch.Tensor:
        layer, base = self.layer, self.layer.base_layer
        if options or layer.merged or layer.disable_adapters or layer.active_adapters != [self.adapter]:
            return type(layer).forward(layer, x, **options)  # type: ignore[no-any-return]
        a, b = layer.lora_A[self.adapter].weight, layer.lora_B[self.adapter].weight
        scaling = layer.scaling[self.adapter]
        return FusedLora.apply(x, base.weight, scales_of(base), base.bias, a, b, scaling)  # type: ignore


def check_fused(model: Any) -> None:
    """Compare a fused layer of each shape with PEFT's own forward: its output, and the gradients of input, A and B.

    Raises TrainingError where one differs by more than rounding (0.3 % in bfloat16). Weights that are not finite are
    another check's.
    """
    shapes: dict[Any, tuple[str, Any]] = {}
    for name, layer in model.named_modules():
        if isinstance(vars(layer).get("forward"), FusedForward):
            shapes.setdefault(tuple((part.shape, part.dtype) for part in layer.parameters()), (name, layer))
    for name, layer in shapes.values():
        # PEFT's own forward is taken as soon as an option is given.
        base = unpacked(layer.base_layer.weight, scales_of(layer.base_layer))
        pairs = zip(probed(layer, base), probed(layer, base, adapter_names=None), strict=True)
        for what, (found, expected) in zip(("output", "input", "A", "B"), pairs, strict=True):
            if wrong := beyond_rounding(found, expected, base.dtype):
                raise TrainingError(
                    f"{'' if what == 'output' else 'the gradient of '}{what} of the fused layer {name} is not that of "
                    f"PEFT's layer: {wrong}",
                    where="train.fused_lora",
                    todo="set it to false, which trains as PEFT does, and please report it with the versions",
                )


def probed(layer: Any, base: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    """Output and gradients of input, A and B, all seeded. The layer's own adapters, a B of zeros, would show nothing;
    in their place stand random ones whose update is as large as the product of its `base` [out, in]."""
    [adapter] = layer.lora_A
    draw = torch.Generator(base.device).manual_seed(0)

    def normal(like: torch.Tensor, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=like.dtype, device=base.device)

    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    size = (base[:PROBES].float().std().item() or 1.0) / math.sqrt(len(a)) / layer.scaling[adapter]
    x = normal(base, PROBES, base.shape[1]).requires_grad_()
    weights = {
        f"lora_A.{adapter}.weight": normal(a, *a.shape).requires_grad_(),
        f"lora_B.{adapter}.weight": (normal(b, *b.shape) * size).requires_grad_(),
    }
    output = torch.func.functional_call(layer, weights, (x,), options)
    gradients = torch.autograd.grad(output, [x, *weights.values()], normal(output, *output.shape))
    return [output.detach(), *gradients]
