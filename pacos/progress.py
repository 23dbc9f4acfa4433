"""Progress bars for people at a terminal, and calm lines for logs."""

import sys
from typing import Any

from tqdm import tqdm

from pacos.terminal import escaped_line


def bar(description: str, total: int | None, unit: str, *, initial: int = 0, disable: bool = False) -> "tqdm[Any]":
    """A tqdm bar on stderr; away from a terminal it prints a line every ten seconds at most."""
    at_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=escaped_line(description),
        unit=f" {unit}",
        initial=initial,
        disable=disable,
        dynamic_ncols=at_terminal,
        mininterval=0.2 if at_terminal else 10.0,
        miniters=0,
        file=sys.stderr,
    )
