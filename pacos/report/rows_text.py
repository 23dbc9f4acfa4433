"""How rows become ids, on the terminal: pieces of text with their ids beneath, in colours where there are any.

Every line names the position of its first token and what training makes of it, in a column of its own that no text of
a row can reach. So it reads the same without colours, in a file or with NO_COLOR.
"""

from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from pacos.report.rows import Piece, RowsPreview, ShownExample, Span
from pacos.terminal import escaped_line

# Tokens of one span that are shown; of a longer one, the first and the last half of them.
TERMINAL_TOKENS = 240
STYLES = {"context": "", "supervised": "bold green", "cut": "red strike"}
SHARED = "cyan"
GUTTER = 26
LEGEND = (
    ("supervised", "trained on", STYLES["supervised"]),
    ("context", "read, not trained on", STYLES["context"]),
    ("shared", "a beginning that is stored once per packed row", SHARED),
    ("cut", "beyond train.max_length: neither read nor trained on", STYLES["cut"]),
    ("⟦⟧", "a control token; · is a space, ⏎ the end of a line", "reverse"),
)


def show(preview: RowsPreview, console: Console) -> None:
    """Print the preview. Nothing in a row's text is a control sequence or markup for the terminal."""
    for line in lines(preview, console.width):
        console.print(line, soft_wrap=True, highlight=False)


def lines(preview: RowsPreview, width: int) -> Iterator[Text]:
    """The preview, a line each, of `width` cells where pieces allow it."""
    yield Text(escaped_line(preview.name), "bold")
    for name, text in preview.facts:
        yield Text(escaped_line(f"  {name:<12} {text}"))
    for line in preview.fills:
        yield Text(f"  {'':<12} {line}")
    yield Text()
    for name, meaning, style in LEGEND:
        yield Text(f"  {name:<12} ", style).append(meaning, "default not bold not reverse not strike")
    for number, example in enumerate(preview.examples, 1):
        yield Text()
        yield from _example(number, example, width)


def _example(number: int, example: ShownExample, width: int) -> Iterator[Text]:
    yield Text(escaped_line(f"{number}. {example.row}: {example.why}; {example.summary}"), "bold")
    for span in example.spans:
        head, left_out, tail = span.shortened(TERMINAL_TOKENS)
        yield from _span(head, width)
        if tail:
            yield Text(f"{'':>{GUTTER}}┃ … {left_out:,} more tokens …", "dim")
            yield from _span(tail, width)


def _span(span: Span, width: int) -> Iterator[Text]:
    style = STYLES[span.kind] or (SHARED if span.shared else "")
    shared = "shared" if span.shared else ""
    position = span.start
    for pieces in _wrapped(span.pieces, width - GUTTER - 2):
        text = Text(f"{position:>7} {span.kind:<10} {shared:<7}┃ ")
        ids = Text(f"{'':>{GUTTER}}┃ ", "dim")
        for piece in pieces:
            cells = _cells(piece)
            text.append(piece.label, f"{style} reverse" if piece.special else style)
            text.append(" " * (cells - cell_len(piece.label) + 1))
            ids.append(f"{_ids(piece):<{cells}} ")
            position += len(piece.ids)
        text.rstrip()
        ids.rstrip()
        yield text
        yield ids


def _wrapped(pieces: Sequence[Piece], room: int) -> Iterator[list[Piece]]:
    """The pieces in lines of `room` cells, which also end where a line of the text does."""
    line: list[Piece] = []
    used = 0
    for piece in pieces:
        cells = _cells(piece) + 1
        if line and used + cells > room:
            yield line
            line, used = [], 0
        line.append(piece)
        used += cells
        if piece.ends_line:
            yield line
            line, used = [], 0
    if line:
        yield line


def _cells(piece: Piece) -> int:
    return max(cell_len(piece.label), len(_ids(piece)))


def _ids(piece: Piece) -> str:
    return "+".join(map(str, piece.ids))
