"""Attention computed segment by segment: gather a micro-batch into its segments, attend, scatter back.

A dense mask would compute what is masked anyway: three quarters of a row of 512 tokens with examples of 120. Here
segments of similar length are batched, each with a copy of its shared prefix in front, and attend by torch's causal
attention without a mask. The rest of the model runs on the packed row, with each prefix once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pacos.train.packing.batch import Segment, int64_tensor, to_device

# Segments are batched while the shortest has at least this share of the longest's length.
MIN_LENGTH_RATIO = 0.75
# Longest segment whose attention scores are materialised.
MAX_EAGER_LENGTH = 512


@dataclass(frozen=True)
class GatherIndex:
    """Gathers segments one after another, each behind a copy of its prefix.

    `gathered` [m] are flat positions of the packed row. `own` [positions]: where in `gathered` each position is its
    segment's own. `shared`: per prefix, its positions (first, last + 1) and the copies of them in `gathered`
    [segments, length].
    """

    gathered: torch.Tensor
    own: torch.Tensor
    shared: list[tuple[int, int, torch.Tensor]]

    def to(self, device: torch.device) -> "GatherIndex":
        """A copy on `device`."""
        shared = [(first, last, to_device(places, device)) for first, last, places in self.shared]
        return GatherIndex(to_device(self.gathered, device), to_device(self.own, device), shared)


def gather_index(segments: Sequence[Segment], lengths: Sequence[int], positions: int) -> GatherIndex:
    """Index of the segments in this order, each padded on the right to its length; they cover all `positions`."""
    own, gathered = [0] * positions, list[int]()
    copies: dict[tuple[int, int], list[int]] = {}
    for segment, length in zip(segments, lengths, strict=True):
        at, (first, last) = len(gathered), segment.prefix
        padding = [segment.start] * (length - segment.length)
        gathered += [*range(first, last), *range(segment.start, segment.end), *padding]
        own[segment.start : segment.end] = range(at + last - first, at + segment.length)
        if last > first:
            copies.setdefault(segment.prefix, []).append(at)
    shared = [
        (first, last, torch.tensor(starts)[:, None] + torch.arange(last - first))
        for (first, last), starts in copies.items()
    ]
    return GatherIndex(int64_tensor(gathered), int64_tensor(own), shared)


@dataclass(frozen=True)
class SegmentGroups:
    """Groups of segments of similar length, `sizes` [(segments, length)], one after another in `index`."""

    index: GatherIndex
    sizes: list[tuple[int, int]]


def group_segments(segments: Sequence[Segment], positions: int, device: torch.device) -> SegmentGroups:
    """Group segments of similar length; they cover all `positions`."""
    groups: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda segment: -segment.length):
        if groups and segment.length >= MIN_LENGTH_RATIO * groups[-1][0].length:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    lengths = [group[0].length for group in groups for _ in group]
    index = gather_index([segment for group in groups for segment in group], lengths, positions)
    return SegmentGroups(index.to(device), [(len(group), group[0].length) for group in groups])


class Gather(torch.autograd.Function):
    """[positions, …] → [m, …]. The backward pass sums the gradients of all copies of a prefix."""

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor, index: GatherIndex) -> Any:
        ctx.index = index
        return packed.index_select(0, index.gathered)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        gradient = upstream[0].index_select(0, ctx.index.own)
        for first, last, places in ctx.index.shared:
            gradient[first:last] += upstream[0][places].sum(0)
        return gradient, None


class Scatter(torch.autograd.Function):
    """[m, …] → [positions, …], each from its own segment; copies and padding get no gradient."""

    @staticmethod
    def forward(ctx: Any, gathered: torch.Tensor, index: GatherIndex) -> Any:
        ctx.index = index
        return gathered.index_select(0, index.own)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        gradient = upstream[0].new_zeros(len(ctx.index.gathered), *upstream[0].shape[1:])
        return gradient.index_copy_(0, ctx.index.own, upstream[0]), None


def segment_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Any,
    *,
    segments: SegmentGroups | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [rows, heads, width, size] each → [rows, width, heads, size].

    Without `segments` it is sdpa with `mask`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

    if segments is None:
        result: tuple[torch.Tensor, None] = sdpa(module, query, key, value, mask, **options)
        return result
    gathered = [Gather.apply(tensor.transpose(1, 2).flatten(0, 1), segments.index) for tensor in (query, key, value)]
    groups = [tensor.split([count * length for count, length in segments.sizes]) for tensor in gathered]
    outputs = []
    for size, *group in zip(segments.sizes, *groups, strict=True):
        q, k, v = (tensor.unflatten(0, size).transpose(1, 2) for tensor in group)
        slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and size[1] <= MAX_EAGER_LENGTH
        if slow and not options.get("dropout"):
            outputs.append(eager_attention(q, k, v, options.get("scaling")).flatten(0, 1))
        else:
            outputs.append(sdpa(module, q, k, v, None, is_causal=True, **options)[0].flatten(0, 1))
    scattered = Scatter.apply(torch.cat(outputs), segments.index)
    return scattered.view(query.shape[0], query.shape[2], *scattered.shape[1:]), None


def eager_attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None) -> torch.Tensor:
    """Causal attention as transformers' eager one: [segments, heads, length, size] → [segments, length, heads, size].

    torch's kernel for CPUs takes two to three times as long in bfloat16, forward and backward, at Alpaca's lengths.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, 1) if groups > 1 else tensor for tensor in (key, value))
    query = query * (scaling or query.shape[-1] ** -0.5)
    future = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).triu(1)
    scores = (query @ key.transpose(2, 3)).masked_fill_(future, float("-inf"))
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2)
