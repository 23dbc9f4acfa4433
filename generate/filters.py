"""The rules of the published systems that look at one task alone, as presets.

Each rule is a function from a task to the figures that condemn it, or None. The rules of a preset are tried
in the upstream order and the first that hits names the reason. Sources: stanford_alpaca
`generate_instruction.py` (post_process_gpt3_response) and self-instruct `bootstrap_instructions.py`; the
rules on instances are those of the Self-Instruct paper, section 2.2, and `prepare_for_finetuning.py`.
"""

import re
import string
from collections.abc import Callable
from typing import NamedTuple

from pacos.generate.reasons import Reason
from pacos.records import Task

Figures = dict[str, str | int | float]
Rule = tuple[Reason, Callable[[Task], Figures | None]]

SELF_INSTRUCT_KEYWORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps",
    "draw", "plot", "go to",
)  # fmt: skip
ALPACA_KEYWORDS = (*SELF_INSTRUCT_KEYWORDS, "video", "audio", "music", "flowchart", "diagram")


class Verdict(NamedTuple):
    """The rule that a task breaks, and what it measured there."""

    reason: Reason
    figures: Figures


def first_broken_rule(task: Task, preset: str) -> Verdict | None:
    for reason, rule in PRESETS[preset]:
        if (figures := rule(task)) is not None:
            return Verdict(reason, figures)
    return None


def too_short(task: Task) -> Figures | None:
    words = len(task.instruction.split())
    return {"words": words} if words <= 3 else None


def too_long(task: Task) -> Figures | None:
    words = len(task.instruction.split())
    return {"words": words} if words > 150 else None


def holds_keyword(keywords: tuple[str, ...]) -> Callable[[Task], Figures | None]:
    """Whole words, in any case: tasks about pictures, files and the like, which a text model cannot do."""
    pattern = re.compile(rf"\b(?:{'|'.join(keywords)})\b", re.IGNORECASE)

    def rule(task: Task) -> Figures | None:
        found = pattern.search(task.instruction)
        return {"keyword": found[0].lower()} if found else None

    return rule


def asks_for_a_program(task: Task) -> Figures | None:
    """Upstream's reason: it is unclear whether the answer is code or the result of running it."""
    return {} if task.instruction.startswith("Write a program") else None


def starts_with_punctuation(task: Task) -> Figures | None:
    first = task.instruction[:1]
    return {"character": first} if first and first in string.punctuation else None


def starts_non_ascii(task: Task) -> Figures | None:
    first = task.instruction[:1]
    return None if first.isascii() else {"character": first}


def output_is_empty(task: Task) -> Figures | None:
    return None if task.output.strip() else {}


def output_copies_input(task: Task) -> Figures | None:
    return {} if task.input.strip() and task.input.strip() == task.output.strip() else None


def _instruction_rules(keywords: tuple[str, ...]) -> tuple[Rule, ...]:
    return (
        (Reason.TOO_SHORT, too_short),
        (Reason.TOO_LONG, too_long),
        (Reason.KEYWORD, holds_keyword(keywords)),
        (Reason.WRITE_A_PROGRAM, asks_for_a_program),
        (Reason.STARTS_WITH_PUNCTUATION, starts_with_punctuation),
        (Reason.STARTS_NON_ASCII, starts_non_ascii),
    )


# Alpaca published its instances unfiltered: 28 of the 52,002 outputs are empty and 55 copy their input.
PRESETS: dict[str, tuple[Rule, ...]] = {
    "alpaca": _instruction_rules(ALPACA_KEYWORDS),
    "self-instruct": (
        *_instruction_rules(SELF_INSTRUCT_KEYWORDS),
        (Reason.EMPTY_OUTPUT, output_is_empty),
        (Reason.OUTPUT_COPIES_INPUT, output_copies_input),
    ),
}
