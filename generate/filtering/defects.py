"""Detectors of the known defects of the released Alpaca set, as rules on a whole task.

Each detector favours precision over recall: what it matches is a defect. Most come from the AlpacaDataCleaned project's
work on the 52,002 rows (its `tools/` and issue 31), some from Self-Instruct's `prepare_for_finetuning.py`.
`SUSPICIONS` match too much sound text to reject it; `pacos analyze` only counts them.
"""

import functools
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Figures, Rule
from pacos.generate.prompting.answer_text import CONTROL_TOKEN
from pacos.generate.prompting.items import is_no_input
from pacos.records import Task
from pacos.words import word_count

if TYPE_CHECKING:
    import regex

_NO_INPUT_MARK = re.compile(r"<\s*no\s*input\s*>", re.IGNORECASE)
# Nothing is given back by these runs: `.*` reads the closing marks of its line too.
_NO_OUTPUT = re.compile(r"""[\s<(\["']*+(?:no[ _-]?output.*+|none|n/?a)[\s>)\]"'.]*+""", re.IGNORECASE)
_NEXT_TASK = re.compile(r"\d{1,2}\.\sInstruction:|^[ \t]*#{2,}[ \t]*$", re.MULTILINE)
_ONLY_URL = re.compile(r"\s*(?:https?://|www\.)\S+\s*", re.IGNORECASE)
_IMAGE = re.compile(r"!\[.*\]\(http|img[ ]?src=|image:")
_LABEL = re.compile(r"\s*(?:input|output)\s*:", re.IGNORECASE)
_INPUT_LABEL = re.compile(r"\binput:", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_DIRECTION = re.compile("[\u061c\u200e\u200f\u202a-\u202c\u2066-\u2069]")
_ACTION = re.compile(r"\b(?:has|have) been (?:set|sent|deleted|booked|scheduled)\b", re.IGNORECASE)
_POINTS_TO_INPUT = re.compile(r"\bthe (?:following|given)\b", re.IGNORECASE)
_SHOWS_INPUT = re.compile(r"[:\"'“‘`]")
_LINK = re.compile(r"https?://|www\.", re.IGNORECASE)
_ESCAPE = re.compile(r"""^[^"'`\n]*\\(?:n|u[0-9a-f]{4})""", re.IGNORECASE | re.MULTILINE)
_CUT_SHORT = re.compile(r"(?:\b(?:a|an|the|of|to|in|on|at|by|for|with|is|are|and|or)|[$=,])\s*$")

ACTION_WORDS = 20
LONG_OUTPUT_WORDS = 10


def placeholder_input(task: Task) -> Figures | None:
    """ "N/A", "None" and the like; the parser makes the input of a generated task empty instead."""
    return {"input": task.input.strip()} if task.input and is_no_input(task.input) else None


def no_input_mark_in_output(task: Task) -> Figures | None:
    """The mark for "no input" inside the output."""
    return {} if _NO_INPUT_MARK.search(task.output) else None


def output_is_empty(task: Task) -> Figures | None:
    """An output of white space alone."""
    return None if task.output.strip() else {}


def placeholder_output(task: Task) -> Figures | None:
    """An output such as "N/A" or "None"."""
    return {"output": task.output.strip()} if _NO_OUTPUT.fullmatch(task.output) else None


def merged_tasks(task: Task) -> Figures | None:
    """The label of another task, or the separator before one, inside the answer."""
    found = _NEXT_TASK.search(task.output)
    return {"at": found.start()} if found else None


def input_is_a_link(task: Task) -> Figures | None:
    """The model could not open the page, so its answer is made up."""
    return {} if _ONLY_URL.fullmatch(task.input) else None


def input_is_an_image(task: Task) -> Figures | None:
    """An input that stands for a picture, which a text model cannot see."""
    return {} if _IMAGE.search(task.input) else None


def output_copies_input(task: Task) -> Figures | None:
    """An output that is the input."""
    return {} if task.input.strip() and task.input.strip() == task.output.strip() else None


def leaked_label(task: Task) -> Figures | None:
    """A label of the list (Input:, Output:) inside the instruction or before the output."""
    return {} if _LABEL.match(task.output) or _INPUT_LABEL.search(task.instruction) else None


def ends_with_colon(task: Task) -> Figures | None:
    """Self-Instruct's sign of a text that was cut off before its actual content."""
    return {} if any(text.rstrip().endswith(":") for text in (task.input, task.output)) else None


def control_characters(task: Task) -> Figures | None:
    """Characters that no text should hold."""
    found = _CONTROL.search(task.instruction + task.input + task.output)
    return {"character": f"U+{ord(found[0]):04X}"} if found else None


def control_tokens(task: Task) -> Figures | None:
    """A control token of a model, spelled as text (`<|im_end|>`): a tokenizer would read it as the token."""
    for text in (task.instruction, task.input, task.output):
        if found := CONTROL_TOKEN.search(text):
            return {"token": found[0]}
        # <s>…</s> is struck through in HTML.
        if "</s>" in text and "<s>" not in text:
            return {"token": "</s>"}
    return None


def invisible_characters(task: Task) -> Figures | None:
    """Zero-width and bidirectional format characters, where the script around them has no use for them."""
    if task.instruction.isascii() and task.input.isascii() and task.output.isascii():
        return None
    for text in (task.instruction, task.input, task.output):
        found = _invisible().findall(text) or ([] if _right_to_left().search(text) else _DIRECTION.findall(text))
        if found:
            return {"character": f"U+{ord(found[0]):04X}"}
    return None


@functools.cache
def _invisible() -> "regex.Pattern[str]":
    """Characters that no text needs, and those that join or part letters away from the scripts where they do."""
    import regex

    never = r"\u180e\u202d\u202e\u2060-\u2064\u206a-\u206f\ufeff"
    unspaced = r"[\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}\p{Han}\p{Hiragana}\p{Katakana}]"
    joined = r"[[\p{L}\p{M}--[\p{Latin}\p{Greek}\p{Cyrillic}]]\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f]"
    space = rf"(?<!{unspaced})\u200b(?!{unspaced})"
    joiner = rf"(?<!{joined})[\u200c\u200d](?!{joined})"
    return regex.compile(rf"[{never}]|{space}|{joiner}", regex.V1)


@functools.cache
def _right_to_left() -> "regex.Pattern[str]":
    import regex

    return regex.compile(r"[\p{L}&&[\p{Bidi_Class=R}\p{Bidi_Class=AL}]]", regex.V1)


def claims_an_action(task: Task) -> Figures | None:
    """A short answer that says it did something in the world: "The alarm has been set"."""
    short = len(task.output.split()) <= ACTION_WORDS
    found = _ACTION.search(task.output) if short else None
    return {"claim": found[0]} if found else None


OUTPUT_EMPTY = Rule(Reason.EMPTY_OUTPUT, output_is_empty)
OUTPUT_COPIES_INPUT = Rule(Reason.OUTPUT_COPIES_INPUT, output_copies_input)
ENDS_WITH_COLON = Rule(Reason.ENDS_WITH_COLON, ends_with_colon)

DEFECTS = (
    Rule(Reason.PLACEHOLDER_INPUT, placeholder_input),
    Rule(Reason.NO_INPUT_MARK_IN_OUTPUT, no_input_mark_in_output),
    OUTPUT_EMPTY,
    Rule(Reason.PLACEHOLDER_OUTPUT, placeholder_output),
    Rule(Reason.MERGED_TASKS, merged_tasks),
    Rule(Reason.INPUT_IS_A_LINK, input_is_a_link),
    Rule(Reason.INPUT_IS_AN_IMAGE, input_is_an_image),
    OUTPUT_COPIES_INPUT,
    Rule(Reason.LEAKED_LABEL, leaked_label),
    ENDS_WITH_COLON,
    Rule(Reason.CONTROL_CHARACTERS, control_characters),
    Rule(Reason.CLAIMS_AN_ACTION, claims_an_action),
    Rule(Reason.CONTROL_TOKENS, control_tokens),
    Rule(Reason.INVISIBLE_CHARACTERS, invisible_characters),
)


def points_to_absent_input(task: Task) -> bool:
    """An instruction that mentions the following or the given, where there is no input."""
    text = task.instruction
    return not task.input.strip() and bool(_POINTS_TO_INPUT.search(text)) and not _SHOWS_INPUT.search(text)


def seems_cut_short(task: Task) -> bool:
    """An output that ends in the middle of a phrase."""
    return _CUT_SHORT.search(task.output) is not None


def repeats_input_in_output(task: Task) -> bool:
    """An output that contains its whole input."""
    return len(task.input.strip()) > 20 and task.input.strip() in task.output


def output_over_100_words(task: Task) -> bool:
    """An output of more than 100 words."""
    return word_count(task.output) > 100


def one_word_output(task: Task) -> bool:
    """An output of one word."""
    return word_count(task.output) == 1


def link_in_input(task: Task) -> bool:
    """The model could not open the page, but the rest of the input may be enough."""
    return _LINK.search(task.input) is not None


def stray_escape(task: Task) -> bool:
    r"""A literal \n or \u00e9 with no quote before it on its line: text that was escaped twice, rarely code."""
    return any(_ESCAPE.search(text) for text in (task.instruction, task.input, task.output))


SUSPICIONS: tuple[Callable[[Task], bool], ...] = (
    points_to_absent_input,
    seems_cut_short,
    repeats_input_in_output,
    output_over_100_words,
    one_word_output,
    link_in_input,
    stray_escape,
)


def repeated_long_outputs(tasks: Iterable[Task]) -> int:
    """The number of outputs of ten words or more that repeat an earlier task's output."""
    seen = Counter(output for task in tasks if word_count(output := task.output.strip()) >= LONG_OUTPUT_WORDS)
    return sum(seen.values()) - len(seen)
