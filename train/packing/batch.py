"""Collates one micro-batch: packed or padded ids at their true positions, segment ids for the mask, and labels."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pacos.train.data.examples import Example

if TYPE_CHECKING:
    import torch

PADDING = -1


@dataclass(frozen=True, slots=True)
class Segment:
    """Flat positions `start` … `end` of an example's own tokens or of a shared prefix, and those of its prefix, if any.

    `length` counts the positions that its last token attends.
    """

    start: int
    end: int
    prefix: tuple[int, int] = (0, 0)

    @property
    def length(self) -> int:
        return self.end - self.start + self.prefix[1] - self.prefix[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch. `ids`, `positions`, `segment_ids` and `prefix_ids` are [rows, width] int64.

    A segment is an example's own tokens, or a prefix that several share, numbered per row; padding is a segment of its
    own. A token attends its own segment up to itself, and the segment `prefix_ids`, its prefix; without a prefix,
    `prefix_ids` is its own segment.
    `label_positions` [n] are the flat positions (row × width + column) whose logits predict `labels` [n], row by row
    and example by example. A prefix's last position predicts the first own token of each example that has it.
    `segments` lists the segments for attention that computes them one by one; `is_packed` tells whether a row has
    several, padding aside.
    """

    ids: "torch.Tensor"
    positions: "torch.Tensor"
    segment_ids: "torch.Tensor"
    prefix_ids: "torch.Tensor"
    label_positions: "torch.Tensor"
    labels: "torch.Tensor"
    segments: "list[Segment]"
    is_packed: bool

    def to(self, device: "torch.device") -> "Batch":
        """A copy on `device`, made asynchronously."""
        tensors = [name for name in self.__slots__ if name not in ("segments", "is_packed")]
        moved: dict[str, Any] = {name: to_device(getattr(self, name), device) for name in tensors}
        return replace(self, **moved)


def to_device(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """Copy without waiting, which requires pinned memory."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def int64_tensor(values: Sequence[Any]) -> "torch.Tensor":
    """A tensor of integers; through numpy, because torch.tensor takes four times as long over a list."""
    import numpy
    import torch

    return torch.from_numpy(numpy.array(values, dtype=numpy.int64))


def collate(rows: Sequence[Sequence[Example]], width: int, pad_id: int) -> Batch:
    """Concatenate the examples of each row, a prefix before the first that shares it, and pad to `width`."""
    packed = [RowBuilder() for _ in rows]
    for builder, row in zip(packed, rows, strict=True):
        for example in row:
            builder.add(example)
    padding = {"ids": pad_id, "positions": 0, "segment_ids": PADDING, "prefix_ids": PADDING}
    padded = {
        name: int64_tensor([getattr(row, name) + [pad] * (width - len(row.ids)) for row in packed])
        for name, pad in padding.items()
    }
    label_positions = [number * width + place for number, row in enumerate(packed) for place in row.label_positions]
    return Batch(
        **padded,
        label_positions=int64_tensor(label_positions),
        labels=int64_tensor([token for row in packed for token in row.labels]),
        segments=[segment for number, row in enumerate(packed) for segment in row.segments(number * width, width)],
        is_packed=any(row.segment_ids and row.segment_ids[-1] > 0 for row in packed),
    )


def collate_padded(examples: Sequence[Example], pad_id: int) -> Batch:
    """A row for each example, padded on the right to the longest; one position of padding for no example."""
    rows: list[list[Example]] = [[replace(example, prefix_length=0)] for example in examples]
    return collate(rows or [[]], max((len(example.ids) for example in examples), default=1), pad_id)


class RowBuilder:
    """A row under construction; the fields are those of Batch, `label_positions` counted from the row's start."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.segment_ids: list[int] = []
        self.prefix_ids: list[int] = []
        self.label_positions: list[int] = []
        self.labels: list[int] = []
        self._starts: list[int] = []
        self._prefixes: dict[tuple[int, ...], tuple[int, int]] = {}

    def add(self, example: Example) -> None:
        """Append an example, and its prefix where the row does not have it yet."""
        prefix = tuple(example.ids[: example.prefix_length])
        if prefix and prefix not in self._prefixes:
            self._prefixes[prefix] = self._append(prefix, 0, None)
        prefix_start, prefix_id = self._prefixes.get(prefix, (0, None))
        start, _ = self._append(example.ids[example.prefix_length :], example.prefix_length, prefix_id)
        places = [*range(prefix_start, prefix_start + example.prefix_length), *range(start, len(self.ids))]
        for first, last in example.label_spans:
            # Position t predicts token t + 1.
            self.label_positions += places[first - 1 : last - 1]
            self.labels += example.ids[first:last]

    def _append(self, ids: Sequence[int], position: int, prefix_id: int | None) -> tuple[int, int]:
        """Append a segment; returns where it starts and its id."""
        start, segment_id = len(self.ids), self.segment_ids[-1] + 1 if self.segment_ids else 0
        self.ids += ids
        self.positions += range(position, position + len(ids))
        self.segment_ids += [segment_id] * len(ids)
        self.prefix_ids += [segment_id if prefix_id is None else prefix_id] * len(ids)
        self._starts.append(start)
        return start, segment_id

    def segments(self, offset: int, width: int) -> "list[Segment]":
        """The row's segments, padding included, at flat positions from `offset` on."""
        bounds = [offset + start for start in (*self._starts, len(self.ids), width)]
        spans = list(itertools.pairwise(bounds))
        prefixes = [spans[self.prefix_ids[start]] for start in self._starts]
        with_prefix = zip(spans, prefixes, strict=False)
        segments = [Segment(*span, prefix if prefix != span else (0, 0)) for span, prefix in with_prefix]
        return segments + ([Segment(*spans[-1])] if spans[-1][0] < spans[-1][1] else [])
