"""Attention of all documents in one call: FlashAttention for sequences of varying length, as torch ships it for GPUs.

Queries stay where they lie in the pack. The keys of each document are its own behind those of the prefix that it sees,
and the kernel's causal mask ends both alike, so that a prefix is seen whole.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pacos.train.attention.segments import Copies, Take, copy_prefixes
from pacos.train.packing.batch import Span, to_device


@dataclass(frozen=True)
class Sequences:
    """`queries` and `keys` [documents + 1] int32: where each document's begin, and the last one's end."""

    copies: Copies
    queries: torch.Tensor
    keys: torch.Tensor
    longest_query: int
    longest_key: int


def line_up(spans: Sequence[Span], positions: int, device: torch.device) -> Sequences:
    """`spans` cover all `positions`, in order."""
    own, seen = [span.end - span.start for span in spans], [span.length for span in spans]
    queries, keys = (torch.tensor([0, *itertools.accumulate(sizes)], dtype=torch.int32) for sizes in (own, seen))
    copies = copy_prefixes(spans, seen, positions).to(device)
    return Sequences(copies, to_device(queries, device), to_device(keys, device), max(own), max(seen))


def runs_on(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether torch has the kernel: NVIDIA GPUs from Ampere on, in 16 bits."""
    if device.type != "cuda" or torch.version.hip or dtype not in (torch.bfloat16, torch.float16):
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def varlen_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Any,
    *,
    sequences: Sequences | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [rows, heads, width, size] each → [rows, width, heads, size].

    Without `sequences` it is sdpa by `mask`.
    """
    if sequences is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

        return sdpa(module, query, key, value, mask, dropout=dropout, scaling=scaling, **options)  # type: ignore
    # Under autocast rotary positions are float32, and queries and keys with them.
    inputs = (query.to(value.dtype), key.to(value.dtype), value)
    queries, keys, values = (tensor.transpose(1, 2).flatten(0, 1) for tensor in inputs)
    # torch.nn.attention.varlen is the same call, but takes fewer heads of keys than of queries from torch 2.12 on only.
    answers = torch.ops.aten._flash_attention_forward(
        queries,
        Take.apply(keys, sequences.copies),
        Take.apply(values, sequences.copies),
        sequences.queries,
        sequences.keys,
        sequences.longest_query,
        sequences.longest_key,
        dropout,
        True,  # causal
        False,
        scale=scaling,
    )[0]
    return answers.view(query.shape[0], query.shape[2], *answers.shape[1:]), None
