"""One forward pass as tensors: ids at their true positions, who sees whom, and which positions learn what."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pacos.train.data.examples import Example

if TYPE_CHECKING:
    import torch

PADDING = -1


@dataclass(frozen=True, slots=True)
class Span:
    """A document's flat positions `start` … `end`, and those of the prefix that it sees, if any."""

    start: int
    end: int
    prefix: tuple[int, int] = (0, 0)

    @property
    def length(self) -> int:
        return self.end - self.start + self.prefix[1] - self.prefix[0]


@dataclass(frozen=True, slots=True)
class Batch:
    """`ids`, `positions`, `documents` and `seen` are [rows, width] int64.

    A document is an example's own tokens, or a prefix that several share, numbered per row; padding is one of its
    own. A token sees its document and `seen`, the prefix of it, up to itself; without one, `seen` is its document.
    `learnt` [n] are the flat positions (row × width + column) that predict a learnt token, `targets` [n] the tokens,
    row by row and example by example. A prefix's last position predicts a token of each example that begins there.
    `spans` are the documents, for attention that takes them one by one.
    """

    ids: "torch.Tensor"
    positions: "torch.Tensor"
    documents: "torch.Tensor"
    seen: "torch.Tensor"
    learnt: "torch.Tensor"
    targets: "torch.Tensor"
    spans: "list[Span]"

    def to(self, device: "torch.device") -> "Batch":
        """Without waiting for the copy, which takes pinned memory."""
        tensors = [name for name in self.__slots__ if name != "spans"]
        return replace(self, **{name: to_device(getattr(self, name), device) for name in tensors})  # type: ignore


def to_device(tensor: "torch.Tensor", device: "torch.device") -> "torch.Tensor":
    """A copy that nobody waits for takes pinned memory."""
    return tensor if device.type == "cpu" else tensor.pin_memory().to(device, non_blocking=True)


def int64_tensor(values: Sequence[Any]) -> "torch.Tensor":
    """torch.tensor takes four times as long over a list."""
    import numpy
    import torch

    return torch.from_numpy(numpy.array(values, dtype=numpy.int64))


def collate(rows: Sequence[Sequence[Example]], width: int, pad_id: int) -> Batch:
    """Lay examples one after another in each row, a prefix before the first that shares it; fill up with padding."""
    laid = [RowBuilder() for _ in rows]
    for builder, row in zip(laid, rows, strict=True):
        for example in row:
            builder.add(example)
    blank = {"ids": pad_id, "positions": 0, "documents": PADDING, "seen": PADDING}
    padded = {
        name: int64_tensor([getattr(row, name) + [pad] * (width - len(row.ids)) for row in laid])
        for name, pad in blank.items()
    }
    learnt = [number * width + place for number, row in enumerate(laid) for place in row.learnt]
    targets = [token for row in laid for token in row.targets]
    return Batch(
        **padded,
        learnt=int64_tensor(learnt),
        targets=int64_tensor(targets),
        spans=[span for number, row in enumerate(laid) for span in row.spans(number * width, width)],
    )


class RowBuilder:
    """A row as it grows; the fields are those of Batch, `learnt` counted from the row's start."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.positions: list[int] = []
        self.documents: list[int] = []
        self.seen: list[int] = []
        self.learnt: list[int] = []
        self.targets: list[int] = []
        self._starts: list[int] = []
        self._prefixes: dict[tuple[int, ...], tuple[int, int]] = {}

    def add(self, example: Example) -> None:
        prefix = tuple(example.ids[: example.shared])
        if prefix and prefix not in self._prefixes:
            self._prefixes[prefix] = self._lay(prefix, 0, None)
        prefix_start, prefix_document = self._prefixes.get(prefix, (0, None))
        start, _ = self._lay(example.ids[example.shared :], example.shared, prefix_document)
        places = [*range(prefix_start, prefix_start + example.shared), *range(start, len(self.ids))]
        # Position t predicts token t + 1.
        self.learnt += places[example.learnt - 1 : -1]
        self.targets += example.ids[example.learnt :]

    def _lay(self, ids: Sequence[int], position: int, seen: int | None) -> tuple[int, int]:
        """Append a document; returns where it starts and its number."""
        start, document = len(self.ids), self.documents[-1] + 1 if self.documents else 0
        self.ids += ids
        self.positions += range(position, position + len(ids))
        self.documents += [document] * len(ids)
        self.seen += [document if seen is None else seen] * len(ids)
        self._starts.append(start)
        return start, document

    def spans(self, offset: int, width: int) -> "list[Span]":
        """Its documents, padding among them, at flat positions from `offset` on."""
        bounds = [offset + start for start in (*self._starts, len(self.ids), width)]
        pieces = list(itertools.pairwise(bounds))
        prefixes = [pieces[self.seen[start]] for start in self._starts]
        documents = zip(pieces, prefixes, strict=False)
        spans = [Span(*piece, prefix if prefix != piece else (0, 0)) for piece, prefix in documents]
        return spans + ([Span(*pieces[-1])] if pieces[-1][0] < pieces[-1][1] else [])
