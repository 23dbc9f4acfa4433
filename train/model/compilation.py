"""Compiles norms, gated MLPs and rotary embeddings with torch.compile, from the model's own code.

Between matrix products, transformers runs many small kernels, each of which reads and writes the whole micro-batch: an
RMSNorm takes seven in the forward pass and more in the backward. One compiled kernel serves all layers and all widths.
Modules and parameters stay the model's own.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pacos.errors import TrainingError
from pacos.train.model.rounding import beyond_rounding
from pacos.train.model.structure import causal_model

# Tokens of the check's input.
PROBE_TOKENS = 16


def compile_pointwise(model: Any) -> int:
    """Compile the norms, gated MLPs and rotary embeddings of `model`; returns the number of modules.

    Compilation happens at first use.
    """
    norms: dict[type, Any] = {}
    gate = torch.compile(gated, dynamic=True)
    count = 0
    for module in causal_model(model).modules():
        if type(module).__name__.endswith("RMSNorm"):
            # One compiled function for all modules of a class: their weights are inputs to it.
            compiled = norms.setdefault(type(module), torch.compile(type(module).forward, dynamic=True))
            module.forward = functools.partial(compiled, module)
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            module.forward = functools.partial(gated_mlp, module, gate)
        else:
            continue
        count += 1
    compile_rotary(modeling_module(model))
    return count


def modeling_module(model: Any) -> Any:
    """The Python module of transformers that defines this architecture."""
    return sys.modules[type(causal_model(model)).__module__]


def gated(activation: Callable[[torch.Tensor], torch.Tensor], gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """The pointwise part of a gated MLP."""
    return activation(gate) * up


def gated_mlp(mlp: Any, gate: Any, hidden: torch.Tensor) -> torch.Tensor:
    """The MLP of Llama, Qwen, Mistral and similar models; `check_compiled` verifies that it is this model's."""
    result: torch.Tensor = mlp.down_proj(gate(mlp.act_fn, mlp.gate_proj(hidden), mlp.up_proj(hidden)))
    return result


def compile_rotary(architecture: Any) -> None:
    """Compile the rotary embedding, which is a function of the architecture's Python module, not of a model."""
    plain = getattr(architecture, "apply_rotary_pos_emb", None)
    if plain and not isinstance(plain, RotaryByToken):
        architecture.apply_rotary_pos_emb = RotaryByToken(plain)


class RotaryByToken:
    """A compiled `apply_rotary_pos_emb` that keeps the memory layout of its input.

    Queries and keys are [rows, heads, width, size], in memory by token, as packed attention reads them. A compiled
    kernel would write them by head, to be copied again.
    """

    def __init__(self, plain: Any) -> None:
        self.plain, self.compiled = plain, torch.compile(plain, dynamic=True)

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> list[torch.Tensor]:
        by_token = self.compiled(query.transpose(1, 2), key.transpose(1, 2), cos, sin, 3 - unsqueeze_dim)
        return [tensor.transpose(1, 2) for tensor in by_token]


def check_compiled(model: Any) -> None:
    """Compare outputs and input gradients of compiled modules, one of each class, and of the rotary embedding.

    Leaves the model in evaluation mode. Raises TrainingError where one differs by more than rounding.
    """
    model.eval()  # Dropout would differ between the two.
    kinds: dict[type, tuple[str, Any]] = {}
    for name, module in model.named_modules():
        if isinstance(vars(module).get("forward"), functools.partial):
            kinds.setdefault(type(module), (name, module))
    dtype = causal_model(model).dtype
    for name, module in kinds.values():
        own = type(module).forward.__get__(module)
        found, expected = (probe_module(module, forward, dtype) for forward in (module.forward, own))
        compare_parts(f"the compiled module {name}", ("output", "gradient"), found, expected)
    rotary = getattr(modeling_module(model), "apply_rotary_pos_emb", None)
    if isinstance(rotary, RotaryByToken):
        found, expected = (probe_rotary(model, apply, dtype) for apply in (rotary, rotary.plain))
        parts = ("query", "key", "gradient of queries", "gradient of keys")
        compare_parts("the compiled rotary embedding", parts, found, expected)


def compare_parts(name: str, parts: Sequence[str], found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    """Raises TrainingError where a part differs by more than rounding."""
    for part, one, other in zip(parts, found, expected, strict=True):
        if wrong := beyond_rounding(one, other, one.dtype):
            raise TrainingError(
                f"{name} gives a different {part} than uncompiled: {wrong}",
                where="train.compile",
                todo="set it to false, and please report it with the versions",
            )


def probe_rotary(model: Any, apply: Any, dtype: torch.dtype) -> list[torch.Tensor]:
    """Seeded queries and keys, rotated by seeded angles, and the gradients of both."""
    config = causal_model(model).config.get_text_config()
    heads, device = config.num_attention_heads, causal_model(model).device
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    draw = torch.Generator(device).manual_seed(0)
    query, key, *upstream = (
        torch.randn(1, count, PROBE_TOKENS, size, generator=draw, dtype=dtype, device=device)
        for count in (heads, config.num_key_value_heads) * 2
    )
    angles = torch.randn(1, PROBE_TOKENS, size, generator=draw, device=device)
    given = [query.requires_grad_(), key.requires_grad_()]
    turned = list(apply(*given, angles.cos().to(dtype), angles.sin().to(dtype)))
    return [*(tensor.detach() for tensor in turned), *torch.autograd.grad(turned, given, upstream)]


def probe_module(module: Any, forward: Any, dtype: torch.dtype) -> list[torch.Tensor]:
    """Output for a seeded input, and the input's gradient."""
    # Not from the weight of a gate: in 4 bits it has another shape and dtype than it multiplies by.
    size = module.gate_proj.in_features if hasattr(module, "gate_proj") else module.weight.shape[-1]
    device = next(module.parameters()).device
    draw = torch.Generator(device).manual_seed(0)
    given = torch.randn(1, PROBE_TOKENS, size, generator=draw, dtype=dtype, device=device).requires_grad_()
    output = forward(given)
    upstream = torch.randn(output.shape, generator=draw, dtype=output.dtype, device=device)
    return [output.detach(), *torch.autograd.grad(output, given, upstream)]
