"""A fused LoRA linear layer: base product and low-rank update in one autograd function, in the base's precision.

PEFT's forward casts every input to the adapters' float32, keeps the cast for the backward pass, and adds the update in
separate kernels. Here the small adapters are cast instead, the update is added inside its matrix product, and only the
input and the rank-r product are kept for the backward pass. The parameters stay in PEFT's modules, so that saving,
merging and switching adapters work as in PEFT.
"""

import math
from typing import Any

import torch

from pacos.errors import TrainingError
from pacos.train.model.quantization import dequantized, quantization_state
from pacos.train.model.rounding import beyond_rounding

# Rows of the check's input.
PROBE_ROWS = 16


class FusedLora(torch.autograd.Function):
    """x W' + bias + scaling · x A' B', for a frozen W [out, in] and trained A [r, in] and B [out, r].

    A `weight` in 4 bits comes with its quantisation `state`, and is dequantised again for the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, weight: Any, state: Any, bias: Any, a: torch.Tensor, b: torch.Tensor, scaling: float
    ) -> Any:
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ a.to(x.dtype).t()
        result = torch.nn.functional.linear(flat, dequantized(weight, state), bias)
        result.addmm_(low, b.to(x.dtype).t(), alpha=scaling)
        ctx.save_for_backward(flat, low, weight, a, b)
        ctx.state, ctx.scaling = state, scaling
        # Not a view to autograd: a model may change the output in place.
        return torch.ops.aten._unsafe_view(result, [*x.shape[:-1], result.shape[-1]])

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        flat, low, weight, a, b = ctx.saved_tensors
        above = upstream[0].reshape(-1, upstream[0].shape[-1])
        through_b = (above @ b.to(above.dtype)).mul_(ctx.scaling)
        grad_x = grad_a = grad_b = None
        if ctx.needs_input_grad[0]:
            through_base = above @ dequantized(weight, ctx.state)
            grad_x = through_base.addmm_(through_b, a.to(above.dtype)).view(*upstream[0].shape[:-1], -1)
        if ctx.needs_input_grad[4]:
            grad_a = (through_b.t() @ flat).to(a.dtype)
        if ctx.needs_input_grad[5]:
            grad_b = (above.t() @ low).mul_(ctx.scaling).to(b.dtype)
        return grad_x, None, None, None, grad_a, grad_b, None


def fuse_lora(model: Any) -> int:
    """Make every plain LoRA layer of a PeftModel compute by FusedLora; returns the number of layers.

    A layer with dropout, a LoRA variant, or a base other than a frozen torch.nn.Linear, in 4 bits or not, keeps PEFT's
    forward.
    """
    from peft.tuners.lora.layer import LoraLayer

    fused: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer) and is_plain(module)]
    for layer in fused:
        # An attribute of the instance hides the class's method.
        layer.forward = FusedForward(layer)
    return len(fused)


def is_plain(layer: Any) -> bool:
    """Whether FusedLora computes what this layer does."""
    if len(layer.lora_A) != 1:  # An embedding has its adapter elsewhere.
        return False
    [adapter] = layer.lora_A
    base = layer.base_layer
    return (
        (type(base) is torch.nn.Linear or quantization_state(base) is not None)
        and not base.weight.requires_grad
        and not (base.bias is not None and base.bias.requires_grad)
        and isinstance(layer.lora_dropout[adapter], torch.nn.Identity)
        and not layer.lora_variant
        and layer.lora_B[adapter].bias is None
        and not layer.fan_in_fan_out
    )


class FusedForward:
    """A layer's forward by FusedLora; PEFT's own while its adapter is merged, disabled or selected per row."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer
        [self.adapter] = layer.lora_A

    def __call__(self, x: torch.Tensor, **options: Any) -> torch.Tensor:
        layer, base = self.layer, self.layer.base_layer
        if options or layer.merged or layer.disable_adapters or layer.active_adapters != [self.adapter]:
            unfused: torch.Tensor = type(layer).forward(layer, x, **options)
            return unfused
        a, b = layer.lora_A[self.adapter].weight, layer.lora_B[self.adapter].weight
        scaling = layer.scaling[self.adapter]
        fused: torch.Tensor = FusedLora.apply(x, base.weight, quantization_state(base), base.bias, a, b, scaling)
        return fused


def check_fused(model: Any) -> None:
    """Compare a fused layer of each shape with PEFT's forward: its output, and the gradients of input, A and B.

    Raises TrainingError where one differs by more than rounding (0.3 % in bfloat16). Weights that are not finite are
    found by check_isolation.
    """
    shapes: dict[Any, tuple[str, Any]] = {}
    for name, layer in model.named_modules():
        if isinstance(vars(layer).get("forward"), FusedForward):
            shapes.setdefault(tuple((part.shape, part.dtype) for part in layer.parameters()), (name, layer))
    for name, layer in shapes.values():
        # With any option given, FusedForward calls PEFT's forward.
        base = dequantized(layer.base_layer.weight, quantization_state(layer.base_layer))
        pairs = zip(probe_layer(layer, base), probe_layer(layer, base, adapter_names=None), strict=True)
        for what, (found, expected) in zip(("output", "input", "A", "B"), pairs, strict=True):
            if wrong := beyond_rounding(found, expected, base.dtype):
                raise TrainingError(
                    f"{'' if what == 'output' else 'the gradient of '}{what} of the fused layer {name} is not that of "
                    f"PEFT's layer: {wrong}",
                    where="train.fused_lora",
                    todo="set it to false, which trains as PEFT does, and please report it with the versions",
                )


def probe_layer(layer: Any, base: torch.Tensor, **options: Any) -> list[torch.Tensor]:
    """Output and gradients of input, A and B for seeded values.

    The layer's own B is zero at the start and would show nothing; it is replaced by random adapters whose update is as
    large as the product with `base` [out, in].
    """
    [adapter] = layer.lora_A
    draw = torch.Generator(base.device).manual_seed(0)

    def normal(like: torch.Tensor, *shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw, dtype=like.dtype, device=base.device)

    a, b = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    size = (base[:PROBE_ROWS].float().std().item() or 1.0) / math.sqrt(len(a)) / layer.scaling[adapter]
    x = normal(base, PROBE_ROWS, base.shape[1]).requires_grad_()
    weights = {
        f"lora_A.{adapter}.weight": normal(a, *a.shape).requires_grad_(),
        f"lora_B.{adapter}.weight": (normal(b, *b.shape) * size).requires_grad_(),
    }
    output = torch.func.functional_call(layer, weights, (x,), options)
    gradients = torch.autograd.grad(output, [x, *weights.values()], normal(output, *output.shape))
    return [output.detach(), *gradients]
