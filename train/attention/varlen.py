"""Attention of all segments in one call: FlashAttention for sequences of varying length, as torch ships it for GPUs.

Queries keep their places in the packed row. The keys of each segment are its prefix's followed by its own; the
kernel's causal mask is aligned to the ends of both, so that a prefix is attended completely.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pacos.train.attention.segments import Gather, GatherIndex, gather_index
from pacos.train.packing.batch import Segment, to_device


@dataclass(frozen=True)
class VarlenSequences:
    """`query_starts` and `key_starts` [segments + 1] int32: cumulative lengths of the segments' queries and keys."""

    index: GatherIndex
    query_starts: torch.Tensor
    key_starts: torch.Tensor
    longest_query: int
    longest_key: int


def varlen_sequences(segments: Sequence[Segment], positions: int, device: torch.device) -> VarlenSequences:
    """The kernel's view of a row's segments, which cover all `positions` in order."""
    queries = [segment.end - segment.start for segment in segments]
    keys = [segment.length for segment in segments]
    query_starts, key_starts = (
        torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32) for lengths in (queries, keys)
    )
    index = gather_index(segments, keys, positions).to(device)
    starts = to_device(query_starts, device), to_device(key_starts, device)
    return VarlenSequences(index, *starts, max(queries), max(keys))


def kernel_available(device: torch.device, dtype: torch.dtype) -> bool:
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
    sequences: VarlenSequences | None = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [rows, heads, width, size] each → [rows, width, heads, size].

    Without `sequences` it is sdpa with `mask`.
    """
    if sequences is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        sdpa: Callable[..., tuple[torch.Tensor, None]] = sdpa_attention_forward
        return sdpa(module, query, key, value, mask, dropout=dropout, scaling=scaling, **options)
    # Under autocast, rotary embeddings leave queries and keys in float32.
    inputs = (query.to(value.dtype), key.to(value.dtype), value)
    queries, keys, values = (tensor.transpose(1, 2).flatten(0, 1) for tensor in inputs)
    # torch.nn.attention.varlen is the same call, but supports grouped-query attention only from torch 2.12 on.
    output = torch.ops.aten._flash_attention_forward(
        queries,
        Gather.apply(keys, sequences.index),
        Gather.apply(values, sequences.index),
        sequences.query_starts,
        sequences.key_starts,
        sequences.longest_query,
        sequences.longest_key,
        dropout,
        True,  # causal
        False,
        scale=scaling,
    )[0]
    return output.view(query.shape[0], query.shape[2], *output.shape[1:]), None
