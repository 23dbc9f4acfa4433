"""Norms, gates and rotary positions as one kernel each: torch.compile makes them out of the model's own code.

Between its matrix products transformers runs one small kernel after another, and each reads and writes the whole pass:
an RMSNorm takes seven forward and more backward. What is compiled serves all layers and all widths. Modules and
parameters stay the model's.
"""

import functools
import sys
from typing import Any

import torch

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.isolation import beyond_rounding
from pacos.train.model import causal_model
from pacos.train.sharding import sharding_asked
from pacos.train.world import has_gpu

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
    compile_rotary(sys.modules[type(causal_model(model)).__module__])
    return count


def gated(activation: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    return activation(gate) * up  # type: ignore[no-any-return]


def gated_mlp(mlp: Any, gate: Any, hidden: torch.Tensor) -> torch.Tensor:
    """What the MLP of Llama, Qwen, Mistral and their kin computes; `check_compiled` says whether this one's does."""
    return mlp.down_proj(gate(mlp.act_fn, mlp.gate_proj(hidden), mlp.up_proj(hidden)))  # type: ignore[no-any-return]


def compile_rotary(modeling: Any) -> None:
    """Rotary positions are a function of the architecture's module, not of a model."""
    plain = getattr(modeling, "apply_rotary_pos_emb", None)
    if plain and not isinstance(plain, functools.partial):
        modeling.apply_rotary_pos_emb = functools.partial(rotary_by_token, torch.compile(plain, dynamic=True))


def rotary_by_token(
    compiled: Any, query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int = 1
) -> list[torch.Tensor]:
    """[rows, heads, width, size] each. In memory heads lie within a token, as attention over packs takes them: a
    compiled kernel would write them the other way round, to be copied again."""
    by_token = compiled(query.transpose(1, 2), key.transpose(1, 2), cos, sin, 3 - unsqueeze_dim)
    return [tensor.transpose(1, 2) for tensor in by_token]


def check_compiled(model: Any) -> None:
    """Compare a compiled module of each class with its own forward: its output, and the gradient of its input.
    Leaves the model in evaluation mode.

    Raises TrainingError where one differs by more than rounding. Rotary positions are not compared here: they are no
    module's, and tests alone hold them against the plain ones.
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
        for what, one, other in zip(("output", "gradient"), found, expected, strict=True):
            if wrong := beyond_rounding(one, other, found[0].dtype):
                raise TrainingError(
                    f"{what} of the compiled module {name} is not its own: {wrong}",
                    where="train.compile",
                    todo="set it to false, and please report it with the versions",
                )


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
