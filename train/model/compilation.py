"""Compiles norms, gated MLPs and rotary embeddings with torch.compile, from the model's own code.

Between matrix products, transformers runs many small kernels, each of which reads and writes the whole micro-batch: an
RMSNorm takes seven in the forward pass and more in the backward. One compiled kernel serves all layers and all widths.
Modules and parameters stay the model's own. What is not one of the known forms, or does not pass its check, is left as
it is.
"""

import functools
import inspect
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch

from pacos.train.model.rounding import beyond_rounding
from pacos.train.model.structure import causal_model

log = logging.getLogger("pacos")

# Tokens of the check's input.
PROBE_TOKENS = 16
# Attributes that the forward of a gated MLP reads; one that reads more, or other ones, computes something else.
MLP_PARTS = {"gate_proj", "up_proj", "down_proj", "act_fn"}
ROTARY_PARAMETERS = ["q", "k", "cos", "sin", "unsqueeze_dim"]


def compile_pointwise(model: Any) -> int:
    """Compile the norms, gated MLPs and rotary embeddings of `model`; returns the number of modules.

    Compilation happens at first use.
    """
    norms: dict[type, Any] = {}
    gate = torch.compile(gated, dynamic=True)
    count = 0
    for module in causal_model(model).modules():
        if type(module).__name__.endswith("RMSNorm") and isinstance(
            getattr(module, "weight", None), torch.nn.Parameter
        ):
            # One compiled function for all modules of a class: their weights are inputs to it.
            compiled = norms.setdefault(type(module), torch.compile(type(module).forward, dynamic=True))
            module.forward = functools.partial(compiled, module)
        elif is_gated_mlp(module):
            module.forward = functools.partial(gated_mlp, module, gate)
        else:
            continue
        count += 1
    compile_rotary(modeling_module(model))
    return count


def is_gated_mlp(module: Any) -> bool:
    """Whether a module's forward reads the parts of a gated MLP and nothing else of the module."""
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and set(code.co_names) == MLP_PARTS


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
    if plain is None or isinstance(plain, RotaryByToken):
        return
    if list(inspect.signature(plain).parameters) == ROTARY_PARAMETERS:
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

    Leaves the model in evaluation mode. What differs by more than rounding, or cannot be compared, is left uncompiled,
    with a line in the log.
    """
    model.eval()  # Dropout would differ between the two.
    kinds: dict[type, list[Any]] = {}
    for module in causal_model(model).modules():
        if isinstance(vars(module).get("forward"), functools.partial):
            kinds.setdefault(type(module), []).append(module)
    dtype = causal_model(model).dtype
    for kind, modules in kinds.items():
        if reason := differences(functools.partial(probe_module, modules[0]), compiled_and_own(modules[0]), dtype):
            for module in modules:
                del module.forward
            log.warning("train.compile leaves %s uncompiled: %s", kind.__name__, reason)
    architecture = modeling_module(model)
    rotary = getattr(architecture, "apply_rotary_pos_emb", None)
    if not isinstance(rotary, RotaryByToken):
        return
    if reason := differences(functools.partial(probe_rotary, model), (rotary, rotary.plain), dtype):
        architecture.apply_rotary_pos_emb = rotary.plain
        log.warning("train.compile leaves the rotary embedding uncompiled: %s", reason)


def compiled_and_own(module: Any) -> tuple[Any, Any]:
    """A module's forward as it is, and its class's."""
    return module.forward, type(module).forward.__get__(module)


def differences(probe: Callable[..., dict[str, torch.Tensor]], forwards: Sequence[Any], dtype: torch.dtype) -> str:
    """What differs by more than rounding between the two `forwards`, or why they cannot be compared; "" for nothing."""
    try:
        found, expected = (probe(forward, dtype) for forward in forwards)
    except torch.OutOfMemoryError:
        raise
    except Exception as failure:  # Of a compiler, or of an architecture that is built otherwise than the known ones.
        return f"its check ended in {type(failure).__name__}: {str(failure).splitlines()[0] if str(failure) else ''}"
    for part, tensor in found.items():
        if wrong := beyond_rounding(tensor, expected[part], tensor.dtype):
            return f"it gives a different {part} than uncompiled: {wrong}"
    return ""


def probe_rotary(model: Any, apply: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Seeded queries and keys, rotated by seeded angles, and the gradients of both."""
    config = causal_model(model).config.get_text_config()
    heads, device = config.num_attention_heads, causal_model(model).device
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    draw = torch.Generator(device).manual_seed(0)
    query, key, *upstream = (
        torch.randn(1, count, PROBE_TOKENS, size, generator=draw, dtype=dtype, device=device)
        for count in (heads, getattr(config, "num_key_value_heads", None) or heads) * 2
    )
    angles = torch.randn(1, PROBE_TOKENS, size, generator=draw, device=device)
    given = [query.requires_grad_(), key.requires_grad_()]
    turned = list(apply(*given, angles.cos().to(dtype), angles.sin().to(dtype)))
    gradients = torch.autograd.grad(turned, given, upstream)
    parts = ("query", "key", "gradient of queries", "gradient of keys")
    return dict(zip(parts, [*(tensor.detach() for tensor in turned), *gradients], strict=True))


def probe_module(module: Any, forward: Any, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Output for a seeded input, and the input's gradient."""
    # Not from the weight of a gate: in 4 bits it has another shape and dtype than it multiplies by.
    size = module.gate_proj.in_features if hasattr(module, "gate_proj") else module.weight.shape[-1]
    device = next(module.parameters()).device
    draw = torch.Generator(device).manual_seed(0)
    given = torch.randn(1, PROBE_TOKENS, size, generator=draw, dtype=dtype, device=device).requires_grad_()
    output = forward(given)
    upstream = torch.randn(output.shape, generator=draw, dtype=output.dtype, device=device)
    return {"output": output.detach(), "gradient": torch.autograd.grad(output, given, upstream)[0]}
