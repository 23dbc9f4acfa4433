"""The published systems' rules on a single task, as filter presets.

Sources: stanford_alpaca `generate_instruction.py` (post_process_gpt3_response) and self-instruct
`bootstrap_instructions.py`; the rules on instances are those of the Self-Instruct paper, section 2.2, and
`prepare_for_finetuning.py`. Rules keep the upstream order.
"""

import re
import string
from collections.abc import Callable
from dataclasses import dataclass

from pacos.generate.filtering.defects import ENDS_WITH_COLON, OUTPUT_COPIES_INPUT, OUTPUT_EMPTY
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Figures, Rule
from pacos.records import Task


@dataclass(frozen=True, slots=True)
class FilterPreset:
    """The rules of a published system; its limits on the instruction's length come from `filters.limits`.

    `instruction_rules` look at the instruction alone, `instance_rules` at the input and output too.
    """

    name: str
    instruction_rules: tuple[Rule, ...]
    instance_rules: tuple[Rule, ...] = ()


def contains_keyword(keywords: tuple[str, ...]) -> Callable[[Task], Figures | None]:
    """Whole words, in any case: tasks about pictures, files and the like, which a text model cannot do."""
    pattern = re.compile(rf"\b(?:{'|'.join(keywords)})\b", re.IGNORECASE)

    def check(task: Task) -> Figures | None:
        found = pattern.search(task.instruction)
        return {"keyword": found[0].lower()} if found else None

    return check


def asks_for_a_program(task: Task) -> Figures | None:
    """Upstream's reason: it is unclear whether the answer is code or the result of running it."""
    return {} if task.instruction.startswith("Write a program") else None


def asks_for_a_program_in_any_case(task: Task) -> Figures | None:
    """The same rule in Self-Instruct, which first made all letters but the first small."""
    return asks_for_a_program(Task(task.instruction.capitalize()))


def starts_with_punctuation(task: Task) -> Figures | None:
    """An instruction that begins with ASCII punctuation."""
    first = task.instruction[:1]
    return {"character": first} if first and first in string.punctuation else None


def starts_non_ascii(task: Task) -> Figures | None:
    """An instruction that begins with a character outside of ASCII."""
    first = task.instruction[:1]
    return None if first.isascii() else {"character": first}


SELF_INSTRUCT_KEYWORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps",
    "draw", "plot", "go to",
)  # fmt: skip
ALPACA_KEYWORDS = (*SELF_INSTRUCT_KEYWORDS, "video", "audio", "music", "flowchart", "diagram")

_FIRST_CHARACTER = (
    Rule(Reason.STARTS_WITH_PUNCTUATION, starts_with_punctuation),
    Rule(Reason.STARTS_NON_ASCII, starts_non_ascii, ascii_only=True),
)

# Alpaca published its instances unfiltered.
ALPACA_FILTERS = FilterPreset(
    "alpaca",
    (
        Rule(Reason.KEYWORD, contains_keyword(ALPACA_KEYWORDS)),
        Rule(Reason.WRITE_A_PROGRAM, asks_for_a_program),
        *_FIRST_CHARACTER,
    ),
)

SELF_INSTRUCT_FILTERS = FilterPreset(
    "self-instruct",
    (
        Rule(Reason.KEYWORD, contains_keyword(SELF_INSTRUCT_KEYWORDS)),
        Rule(Reason.WRITE_A_PROGRAM, asks_for_a_program_in_any_case),
        *_FIRST_CHARACTER,
    ),
    (OUTPUT_EMPTY, OUTPUT_COPIES_INPUT, ENDS_WITH_COLON),
)
