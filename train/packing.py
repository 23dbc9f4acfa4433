"""How the examples of one optimizer step lie in the rows of its forward passes: balanced, and filled with real tokens.

What lies in a row is the own tokens of its examples and, once, each prefix that they share. Every process runs the
same number of passes of one width.
"""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# Compiled kernels are built per width. 128 is FlexAttention's block.
STATIC_WIDTHS = 8
BLOCK = 128
# Width of a row at which attention over all of it (dense) costs as much as everything else.
DENSE_WIDTH = 4096

Row = list[int]


@dataclass(frozen=True, slots=True)
class Piece:
    """What an example adds to a row: its own tokens, and a prefix's unless the row holds that already."""

    own: int
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Room:
    """`tokens` positions fit in a pass, padding included.

    Sparse attention costs what is looked at: one row per pass, its width a multiple of BLOCK. Dense attention costs
    width²: narrow rows, several per pass, of any width.
    """

    tokens: int
    processes: int = 1
    sparse: bool = False

    def width(self, load: int) -> int:
        return _round_up(load) if self.sparse else load

    def rows_in_a_pass(self, width: int) -> int:
        return 1 if self.sparse else self.tokens // width

    def cost(self, rows: int, width: int) -> float:
        """Of a step's passes, in positions without attention."""
        return rows * width * (1 if self.sparse else 1 + width / DENSE_WIDTH)

    def holds(self, width: int) -> bool:
        return width <= (_round_up(self.tokens) if self.sparse else self.tokens)


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
    """Pack pieces (each alone at most `room.tokens`) into equal passes for every process."""
    rows = pack_rows(pieces, room)
    loads = [row_load(row, pieces) for row in rows]
    width = room.width(max(loads))
    rows.sort(key=lambda row: -row_load(row, pieces))
    shares = [rows[process :: room.processes] for process in range(room.processes)]
    each = len(shares[0])
    passes = math.ceil(each / room.rows_in_a_pass(width))
    rows_in_a_pass = math.ceil(each / passes)
    return StepLayout(
        [[share[at : at + rows_in_a_pass] for at in range(0, each, rows_in_a_pass)] for share in shares],
        width,
        sum(loads),
    )


def pack_rows(pieces: Sequence[Piece], room: Room) -> list[Row]:
    """Rows of balanced load that hold every piece and cost least; their number a multiple of the processes."""
    best: list[Row] = []
    least = math.inf
    for count in row_counts(pieces, room):
        rows = balanced_rows(pieces, count)
        width = room.width(max(row_load(row, pieces) for row in rows))
        if room.holds(width) and room.cost(count, width) < least:
            best, least = rows, room.cost(count, width)
            if room.sparse:
                break
    return best


def row_counts(pieces: Sequence[Piece], room: Room) -> Iterator[int]:
    """Numbers of rows worth trying, the fewest that could hold the pieces first; ends with a row for each."""
    own = sum(piece.own for piece in pieces)
    longest = max(piece.own + len(piece.prefix) for piece in pieces)
    count = max(1, math.ceil(own / (room.tokens * room.processes)))
    # Where a row is as wide as the longest piece anyway, more rows only add padding.
    while count < min(len(pieces), 1 + 2 * own // (longest * room.processes)):
        yield count * room.processes
        count = math.ceil(count * 1.1)
    yield max(math.ceil(len(pieces) / room.processes), count) * room.processes


def balanced_rows(pieces: Sequence[Piece], count: int) -> list[Row]:
    """Longest first, each into the row that it leaves lightest (Graham's LPT rule)."""
    rows: list[Row] = [[] for _ in range(count)]
    loads = [0] * count
    held: list[set[tuple[int, ...]]] = [set() for _ in range(count)]
    for index in sorted(range(len(pieces)), key=lambda index: (-pieces[index].own, index)):
        own, prefix = pieces[index].own, pieces[index].prefix
        after = [load + own + (0 if prefix in has else len(prefix)) for load, has in zip(loads, held, strict=True)]
        row = after.index(min(after))
        rows[row].append(index)
        loads[row] = after[row]
        held[row].add(prefix)
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


def _round_up(tokens: int) -> int:
    return math.ceil(tokens / BLOCK) * BLOCK
