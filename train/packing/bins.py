"""How the examples of one optimizer step lie in the rows of its forward passes: balanced, and filled with real tokens.

What lies in a row is the own tokens of its examples and, once, each prefix that they share. Every process runs the
same number of passes of one width.
"""

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# Compiled kernels are built per width. 128 is FlexAttention's block.
STATIC_WIDTHS = 8
BLOCK = 128

Row = list[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """What an example adds to a row: its own tokens, and a prefix's unless the row holds that already."""

    own: int
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """`tokens` positions fit in a pass, padding included. `static`: a row is a multiple of BLOCK wide, for kernels
    that are compiled per width.

    Attention costs what is looked at, however wide the row. So a pass is one row: it computes each prefix once.
    """

    tokens: int
    processes: int = 1
    static: bool = False

    def width(self, load: int) -> int:
        return math.ceil(load / BLOCK) * BLOCK if self.static else load

    def holds(self, load: int) -> bool:
        return self.width(load) <= self.width(self.tokens)


@dataclass(frozen=True, slots=True)
class StepLayout:
    """`passes[process][pass]` holds rows of positions into the step's examples; every row is `width` tokens wide.

    `tokens` are the real ones among the positions, a shared prefix counted once per row.
    """

    passes: list[list[list[Row]]]
    width: int
    tokens: int

    @property
    def rows(self) -> int:
        return sum(len(rows) for process in self.passes for rows in process)

    @property
    def fill(self) -> float:
        """Share of the computed positions that hold real tokens."""
        return self.tokens / (self.width * self.rows)


def lay_out(pieces: Sequence[Piece], room: Room) -> StepLayout:
    """Pack pieces (each alone at most `room.tokens`) into as many passes of one width for every process."""
    rows = pack_rows(pieces, room)
    rows.sort(key=lambda row: -row_load(row, pieces))
    loads = [row_load(row, pieces) for row in rows]
    shares = [rows[process :: room.processes] for process in range(room.processes)]
    return StepLayout([[[row] for row in share] for share in shares], room.width(max(loads)), sum(loads))


def pack_rows(pieces: Sequence[Piece], room: Room) -> list[Row]:
    """The fewest rows of balanced load that hold every piece; their number a multiple of the processes."""
    own = sum(piece.own for piece in pieces)
    each = max(1, math.ceil(own / (room.tokens * room.processes)))
    while True:
        rows = balanced_rows(pieces, each * room.processes)
        if room.holds(max(row_load(row, pieces) for row in rows)):
            return rows
        each += 1


def balanced_rows(pieces: Sequence[Piece], count: int) -> list[Row]:
    """Longest first, each into the row that it leaves lightest (Graham's LPT rule)."""
    rows: list[Row] = [[] for _ in range(count)]
    loads = [0] * count
    # What each row would have to hold of a prefix.
    lacking = {piece.prefix: [len(piece.prefix)] * count for piece in pieces}
    for index in sorted(range(len(pieces)), key=lambda index: (-pieces[index].own, index)):
        lacks = lacking[pieces[index].prefix]
        after = [load + lack for load, lack in zip(loads, lacks, strict=True)]
        row = after.index(min(after))
        rows[row].append(index)
        loads[row] = after[row] + pieces[index].own
        lacks[row] = 0
    return rows


def row_load(row: Row, pieces: Sequence[Piece]) -> int:
    """Tokens in a row: what its pieces own, and each prefix once."""
    return sum(pieces[index].own for index in row) + sum(map(len, {pieces[index].prefix for index in row}))


def static_widths(needed: Mapping[int, int], limit: int = STATIC_WIDTHS) -> list[int]:
    """At most `limit` of the needed widths ({width: rows of it}), so that little is padded in rounding up to one."""
    rows = Counter(needed)
    while len(rows) > limit:
        ascending = sorted(rows)
        dropped, wider = min(itertools.pairwise(ascending), key=lambda pair: rows[pair[0]] * (pair[1] - pair[0]))
        rows[wider] += rows.pop(dropped)
    return sorted(rows)
