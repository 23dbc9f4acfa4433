"""Norms, gates and rotary positions as one kernel each: torch.compile makes them out of the model's own code.

Between its matrix products transformers runs one small kernel after another, and each reads and writes the whole pass:
an RMSNorm takes seven forward and more backward. What is compiled serves all layers and all widths. Modules and
parameters stay the model's.
"""

import functools
import sys
from collections.abc import Sequence
from typing import Any

import torch

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.distributed import has_gpu
from pacos.train.model.fsdp import sharding_asked
from pacos.train.model.rounding import beyond_rounding
from pacos.train.model.structure import causal_model

# Tokens of the start-up check's input.
PROBES = 16


def compiles(config: Config) -> bool:
    """`train.compile`, decided: auto is for GPUs that hold the whole model."""
    asked = config.train.compile
    return has_gpu() and not sharding_asked() if asked == "auto" else asked


def compile_pointwise(model: Any) -> int:
    """Let the norms, gated MLPs and rotary positions of `model` run compiled; returns how many modules do.

    Nothing is compiled before its first use.
    """
    norms: dict[type, Any] = {}
    gate = torch.compile(gated, dynamic=True)
    count = 0
    for module in causal_model(model).modules():
        if type(module).__name__.endswith("RMSNorm"):
            # One code for all modules of a class: their weights are inputs to it.
            compiled = norms.setdefault(type(module), torch.compile(type(module).forward, dynamic=True))
            module.forward = functools.partial(compiled, module)
        elif all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj", "act_fn")):
            module.forward = functools.partial(gated_mlp, module, gate)
        else:
            continue
        count += 1
    compile_rotary(modeling(model))
    return count


def modeling(model: Any) -> Any:
    """transformers' module of this architecture."""
    return sys.modules[type(causal_model(model)).__module__]


def gated(activation: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return activation(gate) * up  # type: ignore[no-any-return]


def gated_mlp(mlp: Any, gate: Any, hidden: torch.Tensor) -> torch.Tensor:
    """What the MLP of Llama, Qwen, Mistral and their kin computes; `check_compiled` says whether this one's does."""
    return mlp.down_proj(gate(mlp.act_fn, mlp.gate_proj(hidden), mlp.up_proj(hidden)))  # type: ignore[no-any-return]


def compile_rotary(architecture: Any) -> None:
    """Rotary positions are a function of the architecture's module, not of a model."""
    plain = getattr(architecture, "apply_rotary_pos_emb", None)
    if plain and not isinstance(plain, RotaryByToken):
        architecture.apply_rotary_pos_emb = RotaryByToken(plain)


class RotaryByToken:
    """`plain`, compiled. Queries and keys are [rows, heads, width, size]; in memory heads lie within a token, as
    attention over packs takes them: a compiled kernel would write them the other way round, to be copied again."""

    def __init__(self, plain: Any) -> None:
        self.plain, self.compiled = plain, torch.compile(plain, dynamic=True)

    def __call__(
        self, query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
    ) -> list[torch.Tensor]:
        by_token = self.compiled(query.transpose(1, 2), key.transpose(1, 2), cos, sin, 3 - unsqueeze_dim)
        return [tensor.transpose(1, 2) for tensor in by_token]


def check_compiled(model: Any) -> None:
    """Compare a compiled module of each class with its own forward, and rotary positions with the plain ones: what
    comes out, and the gradients of what goes in. Leaves the model in evaluation mode.

    Raises TrainingError where one differs by more than rounding.
    """
    model.eval()  # Dropout would draw anew for each.
    kinds: dict[type, tuple[str, Any]] = {}
    for name, module in model.named_modules():
        if isinstance(vars(module).get("forward"), functools.partial):
            kinds.setdefault(type(module), (name, module))
    dtype = causal_model(model).dtype
    for name, module in kinds.values():
        own = type(module).forward.__get__(module)
        found, expected = (probed(module, forward, dtype) for forward in (module.forward, own))
        compare(f"the compiled module {name}", ("output", "gradient"), found, expected)
    rotary = getattr(modeling(model), "apply_rotary_pos_emb", None)
    if isinstance(rotary, RotaryByToken):
        found, expected = (rotated(model, apply, dtype) for apply in (rotary, rotary.plain))
        parts = ("query", "key", "gradient of queries", "gradient of keys")
        compare("the compiled function of rotary positions", parts, found, expected)


def compare(name: str, parts: Sequence[str], found: list[torch.Tensor], expected: list[torch.Tensor]) -> None:
    for part, one, other in zip(parts, found, expected, strict=True):
        if wrong := beyond_rounding(one, other, one.dtype):
            raise TrainingError(
                f"{name} gives another {part} than uncompiled: {wrong}",
                where="train.compile",
                todo="set it to false, and please report it with the versions",
            )


def rotated(model: Any, apply: Any, dtype: torch.dtype) -> list[torch.Tensor]:
    """Seeded queries and keys, turned by seeded angles, and the gradients of both."""
    config = causal_model(model).config.get_text_config()
    heads, device = config.num_attention_heads, causal_model(model).device
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    draw = torch.Generator(device).manual_seed(0)
    query, key, *upstream = (
        torch.randn(1, count, PROBES, size, generator=draw, dtype=dtype, device=device)
        for count in (heads, config.num_key_value_heads) * 2
    )
    angles = torch.randn(1, PROBES, size, generator=draw, device=device)
    given = [query.requires_grad_(), key.requires_grad_()]
    turned = list(apply(*given, angles.cos().to(dtype), angles.sin().to(dtype)))
    return [*(tensor.detach() for tensor in turned), *torch.autograd.grad(turned, given, upstream)]


def probed(module: Any, forward: Any, dtype: torch.dtype) -> list[torch.Tensor]:
    """Output for a seeded input, and the input's gradient. A weight in 4 bits has another shape and type than it
    multiplies by."""
    size = module.gate_proj.in_features if hasattr(module, "gate_proj") else module.weight.shape[-1]
    device = next(module.parameters()).device
    draw = torch.Generator(device).manual_seed(0)
    given = torch.randn(1, PROBES, size, generator=draw, dtype=dtype, device=device).requires_grad_()
    output = forward(given)
    upstream = torch.randn(output.shape, generator=draw, dtype=output.dtype, device=device)
    return [output.detach(), *torch.autograd.grad(output, given, upstream)]
