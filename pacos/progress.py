"""Progress bars for people at a terminal, and calm lines for logs."""

import sys
from typing import Any, TextIO

from tqdm import tqdm

from pacos.terminal import escaped_line

BETWEEN_LINES_S = 10.0


class LogLines:
    """A stream for tqdm that is no terminal: each state of a bar is a line of its own, without carriage returns."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write what there is besides blanks and the cursor's moves."""
        if state := text.strip():
            self._stream.write(f"{state}\n")

    def flush(self) -> None:
        """Flush the stream."""
        self._stream.flush()


def bar(description: str, total: int | None, unit: str, *, initial: int = 0, disable: bool = False) -> "tqdm[Any]":
    """A tqdm bar on stderr; away from a terminal it prints a line every ten seconds at most, and a last one."""
    at_terminal = sys.stderr.isatty()
    done = "{n_fmt} of {total_fmt}" if total else "{n_fmt}"
    return tqdm(
        total=total,
        desc=escaped_line(description),
        unit=f" {unit}",
        initial=initial,
        disable=disable,
        dynamic_ncols=at_terminal,
        mininterval=0.2 if at_terminal else BETWEEN_LINES_S,
        miniters=0,
        bar_format=None if at_terminal else f"{{desc}}: {done}{{unit}} [{{elapsed}}, {{rate_fmt}}{{postfix}}]",
        file=sys.stderr if at_terminal else LogLines(sys.stderr),
    )
