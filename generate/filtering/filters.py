"""The rules of the published systems that look at one task alone, as presets, and those that a config adds.

The rules of a preset are tried in the upstream order, then the defect detectors; the first that hits names the
reason. Sources: stanford_alpaca `generate_instruction.py` (post_process_gpt3_response) and self-instruct
`bootstrap_instructions.py`; the rules on instances are those of the Self-Instruct paper, section 2.2, and
`prepare_for_finetuning.py`.
"""

import re
import string
from collections.abc import Callable, Iterable
from typing import NamedTuple

from pacos.config import FiltersConfig
from pacos.generate.filtering.defects import DEFECTS, ends_with_colon, output_copies_input, output_is_empty
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Figures, Rule
from pacos.records import Task
from pacos.rouge import rouge_tokens, unicode_tokens

TOKENIZERS = {"rouge": rouge_tokens, "unicode": unicode_tokens}

SELF_INSTRUCT_KEYWORDS = (
    "image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps",
    "draw", "plot", "go to",
)  # fmt: skip
ALPACA_KEYWORDS = (*SELF_INSTRUCT_KEYWORDS, "video", "audio", "music", "flowchart", "diagram")
KEYWORDS = {"self-instruct": SELF_INSTRUCT_KEYWORDS, "alpaca": ALPACA_KEYWORDS}


class BrokenRule(NamedTuple):
    """The rule that a task breaks, by its reason, and what it measured there."""

    reason: Reason
    figures: Figures


def task_rules(filters: FiltersConfig) -> tuple[Rule, ...]:
    """All that a task must pass before it is asked how novel it is."""
    return instruction_rules(filters) + instance_rules(filters)


def instruction_rules(filters: FiltersConfig) -> tuple[Rule, ...]:
    """Those that look at the instruction alone.

    With the Unicode tokenizer an instruction may be in any script: its words are that tokenizer's.
    """
    limits, any_script = filters.limits, filters.tokenizer == "unicode"
    words = unicode_tokens if any_script else str.split
    rules: tuple[Rule, ...] = (
        (Reason.TOO_SHORT, shorter_than(limits.min_instruction, words)),
        (Reason.TOO_LONG, longer_than(limits.max_instruction, "instruction", words)),
        (Reason.KEYWORD, holds_keyword(KEYWORDS[filters.preset])),
        (Reason.WRITE_A_PROGRAM, asks_for_a_program),
        (Reason.STARTS_WITH_PUNCTUATION, starts_with_punctuation),
    )
    return rules if any_script else (*rules, (Reason.STARTS_NON_ASCII, starts_non_ascii))


def instance_rules(filters: FiltersConfig) -> tuple[Rule, ...]:
    """Those that look at the input and output too. Alpaca published its instances unfiltered."""
    limits = filters.limits
    words = unicode_tokens if filters.tokenizer == "unicode" else str.split
    rules: list[Rule] = list(SELF_INSTRUCT_INSTANCES) if filters.preset == "self-instruct" else []
    if limits.max_input is not None:
        rules.append((Reason.INPUT_TOO_LONG, longer_than(limits.max_input, "input", words)))
    if limits.max_output is not None:
        rules.append((Reason.OUTPUT_TOO_LONG, longer_than(limits.max_output, "output", words)))
    if filters.defects:
        rules += [rule for rule in DEFECTS if rule not in rules]
    return tuple(rules)


def first_broken_rule(task: Task, rules: Iterable[Rule]) -> BrokenRule | None:
    for reason, rule in rules:
        if (figures := rule(task)) is not None:
            return BrokenRule(reason, figures)
    return None


def shorter_than(limit: int, words: Callable[[str], list[str]]) -> Callable[[Task], Figures | None]:
    def rule(task: Task) -> Figures | None:
        count = len(words(task.instruction))
        return {"words": count} if count < limit else None

    return rule


def longer_than(limit: int, part: str, words: Callable[[str], list[str]]) -> Callable[[Task], Figures | None]:
    def rule(task: Task) -> Figures | None:
        count = len(words(getattr(task, part)))
        return {"words": count} if count > limit else None

    return rule


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


SELF_INSTRUCT_INSTANCES: tuple[Rule, ...] = (
    (Reason.EMPTY_OUTPUT, output_is_empty),
    (Reason.OUTPUT_COPIES_INPUT, output_copies_input),
    (Reason.ENDS_WITH_COLON, ends_with_colon),
)
