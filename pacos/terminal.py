"""Text of strangers on the terminal and in logs: what would steer a terminal, or hide in a line, is shown escaped.

escaped("done\\x1b[2J")  ->  "done\\\\x1b[2J"
"""

import logging
import os
import re
import sys
import traceback
from types import TracebackType

# All control characters but newline and tab (ESC, CR, backspace, the C1 set, …), everything with Unicode's property
# Bidi_Control, line and paragraph separators, invisible characters that no script needs, and halves of characters.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """The text with what steers a terminal written as Python escapes (`\\x1b`, `\\u202e`); newlines and tabs stay."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text.replace("\r\n", "\n"))


def escaped_line(text: str) -> str:
    """As `escaped`, on one line: a newline is written as `\\n`."""
    return escaped(text).replace("\n", "\\n")


def say(text: object) -> None:
    """Print the text to stdout, escaped."""
    print(escaped(str(text)), flush=True)


def complain(text: object) -> None:
    """Print the text to stderr behind `pacos: `, escaped."""
    print(f"pacos: {escaped(str(text))}", file=sys.stderr, flush=True)


def quiet_libraries() -> None:
    """Have libraries draw no bars, here and in processes started from here, where stderr is no terminal.

    Call it before tqdm is imported, which reads the environment once. `pacos.progress` has lines instead. bitsandbytes,
    which transformers imports, asks for a package of kernels at every start on a CPU; it says so no more.
    """
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    if not sys.stderr.isatty():
        os.environ.setdefault("TQDM_DISABLE", "1")


def print_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an uncaught exception to stderr as Python does, escaped; for `sys.excepthook`."""
    print(escaped("".join(traceback.format_exception(kind, error, trace))), end="", file=sys.stderr, flush=True)


class EscapingFormatter(logging.Formatter):
    """Escapes messages, whichever library logs them, and indents their further lines: no text can forge an entry."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry as it is printed or written."""
        return escaped(super().format(record)).replace("\n", "\n  ")
