"""Packs the examples of one optimizer step into the rows of its micro-batches, balanced and with little padding.

A row holds its examples' own tokens and, once, each prefix that they share. Every process runs the same number of
micro-batches of one width. padded.py lays out the steps of a model that cannot be packed.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

# Compiled kernels are built per width. 128 is FlexAttention's block.
STATIC_WIDTHS = 8
BLOCK = 128

Row = list[int]


@dataclass(frozen=True, slots=True)
class Item:
    """What is packed: a number of own tokens, and a prefix that is added unless the row has it already."""

    own: int
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Bin:
    """A row that holds `tokens` positions, padding included.

    `static`: its width is a multiple of BLOCK, for kernels that are compiled per width. A micro-batch is one row, which
    computes each prefix once; attention costs the same however wide the row is.
    """

    tokens: int
    static: bool = False

    def width(self, load: int) -> int:
        """Positions that a row of `load` tokens takes."""
        return math.ceil(load / BLOCK) * BLOCK if self.static else load

    def holds(self, load: int) -> bool:
        """Whether a row of `load` tokens fits."""
        return self.width(load) <= self.width(self.tokens)


@dataclass(frozen=True, slots=True)
class StepLayout:
    """`micro_batches[process][number]` are rows of indices into the step's items, at most `width` tokens wide.

    `tokens` counts the positions that are not padding, a shared prefix once per row; `positions` all that are computed.
    """

    micro_batches: list[list[list[Row]]]
    width: int
    tokens: int
    positions: int

    @property
    def rows(self) -> int:
        return sum(len(rows) for process in self.micro_batches for rows in process)

    @property
    def fill(self) -> float:
        """Share of the computed positions that are not padding."""
        return self.tokens / self.positions

    def widened(self, width: int) -> "StepLayout":
        """The same rows, all of them `width` wide."""
        return replace(self, width=width, positions=width * self.rows)


def pack(items: Sequence[Item], bin: Bin, processes: int = 1) -> StepLayout:
    """Pack items, each of at most `bin.tokens`, into equally many micro-batches of one width for every process."""
    rows = pack_rows(items, bin, processes)
    rows.sort(key=lambda row: -row_load(row, items))
    loads = [row_load(row, items) for row in rows]
    shares = [rows[process::processes] for process in range(processes)]
    width = bin.width(max(loads))
    return StepLayout([[[row] for row in share] for share in shares], width, sum(loads), width * len(rows))


def pack_rows(items: Sequence[Item], bin: Bin, processes: int) -> list[Row]:
    """The fewest rows of balanced load that hold every item; their number is a multiple of the processes."""
    own = sum(item.own for item in items)
    each = max(1, math.ceil(own / (bin.tokens * processes)))
    while True:
        rows = balanced_rows(items, each * processes)
        if bin.holds(max(row_load(row, items) for row in rows)):
            return rows
        each += 1


def balanced_rows(items: Sequence[Item], count: int) -> list[Row]:
    """Assign items longest first, each to the row that it leaves with the least load (Graham's LPT rule)."""
    rows: list[Row] = [[] for _ in range(count)]
    loads = [0] * count
    # Tokens that each row would have to add for a prefix.
    missing = {item.prefix: [len(item.prefix)] * count for item in items}
    for index in sorted(range(len(items)), key=lambda index: (-items[index].own, index)):
        absent = missing[items[index].prefix]
        after = [load + tokens for load, tokens in zip(loads, absent, strict=True)]
        row = after.index(min(after))
        rows[row].append(index)
        loads[row] = after[row] + items[index].own
        absent[row] = 0
    return rows


def row_load(row: Row, items: Sequence[Item]) -> int:
    """Tokens in a row: its items' own, and each prefix once."""
    return sum(items[index].own for index in row) + sum(map(len, {items[index].prefix for index in row}))


def static_widths(needed: Mapping[int, int], limit: int = STATIC_WIDTHS) -> list[int]:
    """At most `limit` of the needed widths, {width: number of rows}: those that add least padding by rounding up."""
    rows = Counter(needed)
    while len(rows) > limit:
        ascending = sorted(rows)
        dropped, wider = min(itertools.pairwise(ascending), key=lambda pair: rows[pair[0]] * (pair[1] - pair[0]))
        rows[wider] += rows.pop(dropped)
    return sorted(rows)
