"""What `pacos inspect` shows: how rows become token ids (rows_text.py: on the terminal; rows.html.j2: as a page)."""

from dataclasses import dataclass
from typing import Literal

from pacos.terminal import escaped

# Tokens of one span that a page shows; of a longer one, the first and the last half of them.
PAGE_TOKENS = 4000
# White space that would not be seen at the edge of a piece.
_MARKS = str.maketrans({"\n": "⏎", "\t": "⇥", "\r": "␍"})

Kind = Literal["context", "supervised", "cut"]


@dataclass(frozen=True, slots=True)
class Piece:
    """The text of one token; of several where a character is spread over them. `special`: a control token."""

    ids: tuple[int, ...]
    text: str
    special: bool = False

    @property
    def label(self) -> str:
        """The text as it is shown: white space and control characters marked, a control token in ⟦⟧."""
        text = escaped(self.text.translate(_MARKS))
        blank = len(text) - len(text.lstrip(" "))
        text = "·" * blank + text[blank:]
        ending = len(text) - len(text.rstrip(" "))
        text = text[: len(text) - ending] + "·" * ending
        return f"⟦{text}⟧" if self.special else text

    @property
    def ends_line(self) -> bool:
        """Whether a line ends here in the text."""
        return "\n" in self.text


@dataclass(frozen=True, slots=True)
class Span:
    """Neighbouring tokens from position `start` on that training treats alike.

    `cut` tokens are not trained on, nor seen. `shared`: stored once for all examples of a packed row that begin so.
    """

    kind: Kind
    start: int
    pieces: tuple[Piece, ...]
    shared: bool = False

    @property
    def tokens(self) -> int:
        return sum(len(piece.ids) for piece in self.pieces)

    def shortened(self, tokens: int) -> "tuple[Span, int, Span | None]":
        """(what is shown first, the number of tokens left out behind it, what is shown last), of `tokens` at most."""
        if len(self.pieces) <= tokens:
            return self, 0, None
        half = tokens // 2
        first, last = self.pieces[:half], self.pieces[-half:]
        start = self.start + self.tokens - sum(len(piece.ids) for piece in last)
        head = Span(self.kind, self.start, first, self.shared)
        return head, start - self.start - head.tokens, Span(self.kind, start, last, self.shared)


@dataclass(frozen=True, slots=True)
class ShownExample:
    """An example, or a row that is left out: its name, why it is shown, and all its tokens, those that are cut last."""

    row: str
    why: str
    spans: tuple[Span, ...]

    def count(self, kind: Kind) -> int:
        """Number of tokens of this kind."""
        return sum(span.tokens for span in self.spans if span.kind == kind)

    @property
    def summary(self) -> str:
        """Its number of tokens, of those that are supervised, shared and cut."""
        supervised, cut = self.count("supervised"), self.count("cut")
        shared = sum(span.tokens for span in self.spans if span.shared)
        text = f"{self.count('context') + supervised:,} tokens, {supervised:,} supervised"
        return text + (f", {shared:,} in a shared prefix" if shared else "") + (f"; {cut:,} cut" if cut else "")


@dataclass(frozen=True, slots=True)
class PackedRow:
    """A row of the first optimizer step: its number of examples, and of tokens that are not padding."""

    examples: int
    tokens: int


@dataclass(frozen=True, slots=True)
class RowsPreview:
    """How a run's rows become ids. `facts` are (name, text) of the whole dataset and of the first optimizer step,
    whose rows, in micro-batches `width` wide, are `packed`.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    width: int
    packed: tuple[PackedRow, ...]
    examples: tuple[ShownExample, ...]

    @property
    def fills(self) -> list[str]:
        """A line for each row of the first step."""
        return [
            f"row {number}: {row.examples:,} examples, {row.tokens:,} of {self.width:,} tokens "
            f"({row.tokens / self.width:.1%})"
            for number, row in enumerate(self.packed, 1)
        ]
