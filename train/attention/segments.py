"""Attention one document at a time: a pack is taken apart into its examples, each attends itself, and is laid back.

A dense mask computes what nobody may see: of a row of 512 tokens with examples of 120, three quarters. Here examples
of like length lie side by side, each with the prefix that it shares in front, and torch's causal attention runs on
them: no mask at all. All else of the model runs on the pack, where there is no padding and each prefix stands once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from pacos.train.packing.batch import Span, int64_tensor, to_device

# Documents are attended together while the shortest is at least this much of the longest.
ALIKE = 0.75
# Tokens of a document up to which its scores may lie in memory whole.
SHORT = 512


@dataclass(frozen=True)
class Copies:
    """Positions one document after another, each behind a copy of the prefix that it sees.

    `taken` [m] are flat positions. `own` [positions]: where in `taken` each position stands as its document's own.
    `shared`: per prefix, its positions (first, last + 1) and where in `taken` it stands for others [documents, length].
    """

    taken: torch.Tensor
    own: torch.Tensor
    shared: list[tuple[int, int, torch.Tensor]]

    def to(self, device: torch.device) -> "Copies":
        shared = [(first, last, to_device(places, device)) for first, last, places in self.shared]
        return Copies(to_device(self.taken, device), to_device(self.own, device), shared)


def copy_prefixes(spans: Sequence[Span], lengths: Sequence[int], positions: int) -> Copies:
    """Documents in this order, each padded behind to its length. `spans` cover all `positions`."""
    own, taken = [0] * positions, list[int]()
    shared: dict[tuple[int, int], list[int]] = {}
    for span, length in zip(spans, lengths, strict=True):
        at, (first, last) = len(taken), span.prefix
        taken += [*range(first, last), *range(span.start, span.end), *[span.start] * (length - span.length)]
        own[span.start : span.end] = range(at + last - first, at + span.length)
        if last > first:
            shared.setdefault(span.prefix, []).append(at)
    occurrences = [
        (first, last, torch.tensor(starts)[:, None] + torch.arange(last - first))
        for (first, last), starts in shared.items()
    ]
    return Copies(int64_tensor(taken), int64_tensor(own), occurrences)


@dataclass(frozen=True)
class Documents:
    """Groups of documents of like length, `sizes` [(documents, length)], one after another in `copies`."""

    copies: Copies
    sizes: list[tuple[int, int]]


def arrange(spans: Sequence[Span], positions: int, device: torch.device) -> Documents:
    """Group documents of like length. `spans` cover all `positions`."""
    groups: list[list[Span]] = []
    for span in sorted(spans, key=lambda span: -span.length):
        if groups and span.length >= ALIKE * groups[-1][0].length:
            groups[-1].append(span)
        else:
            groups.append([span])
    lengths = [group[0].length for group in groups for _ in group]
    copies = copy_prefixes([span for group in groups for span in group], lengths, positions)
    return Documents(copies.to(device), [(len(group), group[0].length) for group in groups])


class Take(torch.autograd.Function):
    """[positions, …] → [m, …]. Its backward adds up, per prefix, what the documents that see it ask of it."""

    @staticmethod
    def forward(ctx: Any, packed: torch.Tensor, copies: Copies) -> Any:
        ctx.copies = copies
        return packed.index_select(0, copies.taken)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        gradient = upstream[0].index_select(0, ctx.copies.own)
        for first, last, places in ctx.copies.shared:
            gradient[first:last] += upstream[0][places].sum(0)
        return gradient, None


class Lay(torch.autograd.Function):
    """[m, …] → [positions, …], each as its own document's; nothing comes back for the others."""

    @staticmethod
    def forward(ctx: Any, apart: torch.Tensor, copies: Copies) -> Any:
        ctx.copies = copies
        return apart.index_select(0, copies.own)

    @staticmethod
    def backward(ctx: Any, *upstream: torch.Tensor) -> Any:
        gradient = upstream[0].new_zeros(len(ctx.copies.taken), *upstream[0].shape[1:])
        return gradient.index_copy_(0, ctx.copies.own, upstream[0]), None


def document_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    mask: Any,
    *,
    documents: Documents | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """transformers' attention interface: [rows, heads, width, size] each → [rows, width, heads, size].

    Without `documents` it is sdpa by `mask`.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward as sdpa

    if documents is None:
        return sdpa(module, query, key, value, mask, **options)  # type: ignore[no-any-return]
    taken = [Take.apply(tensor.transpose(1, 2).flatten(0, 1), documents.copies) for tensor in (query, key, value)]
    groups = [tensor.split([count * length for count, length in documents.sizes]) for tensor in taken]
    answers = []
    for size, *group in zip(documents.sizes, *groups, strict=True):
        q, k, v = (tensor.unflatten(0, size).transpose(1, 2) for tensor in group)
        slow = q.device.type == "cpu" and q.dtype == torch.bfloat16 and size[1] <= SHORT
        if slow and not options.get("dropout"):
            answers.append(explicit_attention(q, k, v, options.get("scaling")).flatten(0, 1))
        else:
            answers.append(sdpa(module, q, k, v, None, is_causal=True, **options)[0].flatten(0, 1))
    laid = Lay.apply(torch.cat(answers), documents.copies)
    return laid.view(query.shape[0], query.shape[2], *laid.shape[1:]), None


def explicit_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scaling: float | None
) -> torch.Tensor:
    """[documents, heads, length, size] each → [documents, length, heads, size], causal, as transformers' eager one.

    torch's kernel for CPUs takes two to three times as long in bfloat16, forward and backward, at Alpaca's lengths.
    """
    groups = query.shape[1] // key.shape[1]
    key, value = (tensor.repeat_interleave(groups, 1) if groups > 1 else tensor for tensor in (key, value))
    query = query * (scaling or query.shape[-1] ** -0.5)
    ahead = torch.ones(query.shape[2], query.shape[2], dtype=torch.bool).triu(1)
    scores = (query @ key.transpose(2, 3)).masked_fill_(ahead, float("-inf"))
    weights = scores.softmax(-1, dtype=torch.float32).to(query.dtype)
    return (weights @ value).transpose(1, 2)
