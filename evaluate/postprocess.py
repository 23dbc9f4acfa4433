"""What of a completion counts as the answer. A model that was never taught to stop says the answer, then goes on.

`none` is Self-Instruct's and Tk-Instruct's protocol, `first-period` that of SuperNI's GPT-3 row (run_gpt3.py).
"""

import re
from collections.abc import Callable


def first_line(text: str) -> str:
    return text.strip().partition("\n")[0].strip()


def _first_period(text: str) -> str:
    return text.strip().split(".")[0]


def _first_paragraph(text: str) -> str:
    """Up to an empty line or the `###` of a next section."""
    return re.split(r"\n\n|###", text.strip(), maxsplit=1)[0].strip()


POSTPROCESS: dict[str, Callable[[str], str]] = {
    "none": str.strip,
    "first-line": first_line,
    "first-period": _first_period,
    "first-paragraph": _first_paragraph,
}
