"""Which examples an optimizer step takes, and how they lie in its forward passes.

A step takes `batch_size` examples of a seeded permutation, whatever the number of processes. They are packed
several to a row, rows of one width to a pass, passes under `pack_tokens`. An example sees only itself, by an
explicit mask and its own positions; every process runs the same number of passes.
"""

import heapq
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pacos.config import TrainConfig
from pacos.train.data import Example

if TYPE_CHECKING:
    import torch

# Among row counts that fill at least this share, the one with the narrowest rows is taken: attention costs width².
GOOD_FILL = 0.97

Row = list[int]


def steps_per_epoch(examples: int, config: TrainConfig) -> int:
    return math.ceil(examples / config.batch_size)


def total_steps(examples: int, config: TrainConfig) -> int:
    """Optimizer steps of a run: `epochs` (the last batch of an epoch may be smaller), at most `max_steps`."""
    steps = math.ceil(config.epochs * steps_per_epoch(examples, config))
    return min(steps, config.max_steps or steps)


def step_examples(examples: int, config: TrainConfig, seed: int, step: int) -> list[int]:
    """Indices of the examples that step 0, 1, … takes: a function of its arguments alone, so resume is exact."""
    epoch, place = divmod(step, steps_per_epoch(examples, config))
    order = list(range(examples))
    random.Random(f"{seed}:{epoch}").shuffle(order)
    return order[place * config.batch_size : (place + 1) * config.batch_size]


@dataclass(frozen=True, slots=True)
class StepLayout:
    """`passes[process][pass]` holds rows of positions into the step's examples; every row is `width` tokens wide."""

    passes: list[list[list[Row]]]
    width: int
    tokens: int

    @property
    def fill(self) -> float:
        """Share of the computed positions that hold real tokens."""
        return self.tokens / (self.width * sum(len(rows) for process in self.passes for rows in process))


def lay_out(lengths: Sequence[int], pack_tokens: int, processes: int = 1) -> StepLayout:
    """Pack examples of these lengths (each at most `pack_tokens`) into equal passes for every process."""
    rows = pack_rows(lengths, pack_tokens, multiple=processes)
    width = max(_load(row, lengths) for row in rows)
    rows.sort(key=lambda row: -_load(row, lengths))
    rows_per_process = len(rows) // processes
    passes = math.ceil(rows_per_process / (pack_tokens // width))
    rows_per_pass = math.ceil(rows_per_process / passes)
    shares = [rows[process::processes] for process in range(processes)]
    return StepLayout(
        [[share[at : at + rows_per_pass] for at in range(0, len(share), rows_per_pass)] for share in shares],
        width,
        sum(lengths),
    )


def pack_rows(lengths: Sequence[int], capacity: int, *, multiple: int = 1) -> list[Row]:
    """Rows of balanced load, as many as a multiple of `multiple`, none over `capacity`.

    The most rows that still fill GOOD_FILL of their common width, else those that fill best.
    """
    total, longest = sum(lengths), max(lengths)
    count = max(1, total // longest // multiple) * multiple
    while max(_load(row, lengths) for row in balanced_rows(lengths, count)) > capacity:
        count += multiple
    best, least = [], math.inf
    for fewer in range(count, 0, -multiple):
        rows = balanced_rows(lengths, fewer)
        width = max(_load(row, lengths) for row in rows)
        if width > capacity:
            break
        if width * fewer < least:
            best, least = rows, width * fewer
        if total >= GOOD_FILL * least:
            break
    return best


def balanced_rows(lengths: Sequence[int], count: int) -> list[Row]:
    """Longest first, each into the row with the least load so far (Graham's LPT rule)."""
    rows: list[Row] = [[] for _ in range(count)]
    loads = [(0, number) for number in range(count)]
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        load, number = loads[0]
        rows[number].append(index)
        heapq.heapreplace(loads, (load + lengths[index], number))
    return rows


def _load(row: Row, lengths: Sequence[int]) -> int:
    return sum(lengths[index] for index in row)


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass: `ids`, `positions` and `documents` are [rows, width] int64.

    `learnt` [n] are the flat positions (row × width + column) that predict a learnt token, `targets` [n] the tokens.
    """

    ids: "torch.Tensor"
    positions: "torch.Tensor"
    documents: "torch.Tensor"
    learnt: "torch.Tensor"
    targets: "torch.Tensor"

    def to(self, device: "torch.device") -> "Batch":
        return Batch(*(getattr(self, name).to(device, non_blocking=True) for name in self.__slots__))

    @property
    def mask(self) -> "torch.Tensor":
        """[rows, 1, width, width] bool, True where a query may look: its own document, not ahead.

        Padding is a document of its own, so that no row of the mask is empty (softmax over nothing is NaN).
        """
        same = self.documents[:, :, None] == self.documents[:, None, :]
        return same.tril()[:, None]


def collate(rows: Sequence[Sequence[Example]], width: int, pad_id: int) -> Batch:
    """Lay examples one after another in each row; the rest of a row is padding that carries no loss."""
    import torch

    ids = torch.full((len(rows), width), pad_id)
    positions = torch.zeros_like(ids)
    documents = torch.full_like(ids, -1)
    learnt: list[int] = []
    targets: list[int] = []
    for r, row in enumerate(rows):
        start = 0
        for number, example in enumerate(row):
            end = start + len(example.ids)
            ids[r, start:end] = torch.tensor(example.ids)
            positions[r, start:end] = torch.arange(len(example.ids))
            documents[r, start:end] = number
            # Position t predicts token t + 1.
            learnt += range(r * width + start + example.learnt - 1, r * width + end - 1)
            targets += example.ids[example.learnt :]
            start = end
    return Batch(
        ids, positions, documents, torch.tensor(learnt, dtype=torch.long), torch.tensor(targets, dtype=torch.long)
    )
