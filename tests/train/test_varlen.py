"""Packed rows as FlashAttention's kernel takes them.

The kernel needs a GPU (test_gpu.py); here plain torch replaces it, which accepts nothing that the kernel would refuse.
"""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pacos.train.attention.dispatch import SEGMENTS, VARLEN, attention_arguments
from pacos.train.attention.segments import segment_attention
from pacos.train.attention.varlen import varlen_attention
from pacos.train.packing.batch import collate
from tests.support.small_training import train_here, training_config, write_tasks
from tests.train.test_batch import random_examples


def kernel(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    begins: torch.Tensor,
    key_begins: torch.Tensor,
    longest: int,
    longest_key: int,
    dropout: float,
    causal: bool,
    debug: bool,
    *,
    scale: float | None,
) -> tuple[torch.Tensor]:
    """[positions, heads, size] each; sequence i of the queries attends sequence i of the keys, both ending together."""
    assert query.dtype == key.dtype == value.dtype
    assert begins.dtype == key_begins.dtype == torch.int32
    assert (longest, longest_key) == (int(begins.diff().max()), int(key_begins.diff().max()))
    assert causal and not dropout and not debug
    answers = []
    for (start, end), (first, last) in zip(begins.unfold(0, 2, 1), key_begins.unfold(0, 2, 1), strict=True):
        mask = torch.ones(end - start, last - first, dtype=torch.bool).tril(last - first - end + start)
        parts = (tensor.transpose(0, 1) for tensor in (query[start:end], key[first:last], value[first:last]))
        attend: Callable[..., torch.Tensor] = torch.nn.functional.scaled_dot_product_attention
        answers.append(attend(*parts, attn_mask=mask, scale=scale, enable_gqa=True).transpose(0, 1))
    return (torch.cat(answers),)


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops.aten, "_flash_attention_forward", kernel)
    monkeypatch.setattr("pacos.train.attention.varlen.kernel_available", lambda device, dtype: True)


def test_varlen_attention_equals_segment_attention_with_all_gradients(on_cpu: None) -> None:
    batch = collate([random_examples(40, longest=120)], 2432, 0)
    draw = torch.Generator().manual_seed(0)
    given = [torch.randn(1, heads, 2432, 32, generator=draw, dtype=torch.float64) for heads in (4, 2, 2)]
    upstream = torch.randn(1, 2432, 4, 32, generator=draw, dtype=torch.float64)
    outcomes = []
    kinds: list[tuple[Callable[..., tuple[torch.Tensor, None]], str]]
    kinds = [(segment_attention, SEGMENTS), (varlen_attention, VARLEN)]
    for attend, implementation in kinds:
        inputs = [tensor.clone().requires_grad_() for tensor in given]
        arguments = attention_arguments(batch, implementation)
        output, _ = attend(
            SimpleNamespace(num_key_value_groups=2), *inputs, arguments.pop("attention_mask"), **arguments
        )
        outcomes.append([output, *torch.autograd.grad(output, inputs, upstream)])
    for found, wanted in zip(outcomes[1], outcomes[0], strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"method": "full", "learning_rate": 1e-3}], ids=["lora", "full"])
def test_the_kernel_gets_one_precision(
    on_cpu: None, tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    """Under autocast, as every weight is tuned, rotary positions leave queries and keys in float32."""
    monkeypatch.setattr("pacos.train.model.precision.has_amx", lambda: True)
    config = training_config(tmp_path, tiny_base, write_tasks(tmp_path / "tasks.jsonl", 40), epochs=3, **settings)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    metrics = train_here(config)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
