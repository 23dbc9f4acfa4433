"""Self-Instruct, phase 1: a numbered list of instructions, which the model continues.

Structure, counts and decoding follow self-instruct `bootstrap_instructions.py`; the words are our own. Of an item only
white space is collapsed, as in the original: a blank to fill in ("__"), a colon at the end and marks stay. Unlike the
original, this keeps the case of all letters ("Python" became "python"), drops only the last item of an answer cut at
its token limit (the original dropped all), and does not stop on a bare "16.", which may occur in an instruction.
"""

import itertools
import re
from collections.abc import Sequence

from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.answer_text import (
    is_cut_off,
    without_closing_fence,
    without_control_tokens,
    without_thoughts,
)
from pacos.generate.prompting.items import ListFormat, ParsedItem
from pacos.records import Task

HEADER = "Write a series of varied tasks for somebody who only reads and writes text:\n"

_LABEL = re.compile(
    r"^[ \t]*(?P<open>[*_]{0,2})(?:task[ \t]*)?\d{1,3}[ \t]?(?P<close>[*_]{0,2})[.):](?P<late_close>[*_]{0,2})(?=\s|$)",
    re.I | re.M,
)

_OTHER_LABEL = re.compile(
    r"""^[ \t]*(?:[-+*•][ \t]+|(?=[*_]{0,2}\())(?P<open>[*_]{0,2})\(?(?P<number>\d{1,3})[ \t]?
        (?P<close>[*_]{0,2})[.):]\.?(?P<late_close>[*_]{0,2})(?=\s|$)""",
    re.MULTILINE | re.VERBOSE,
)


def instructions_prompt(examples: Sequence[str]) -> str:
    """A prompt whose completion is item `len(examples) + 1` and the following ones."""
    shown = (" ".join(text.split()).rstrip(":") for text in examples)
    items = "".join(f"{number}. {text}\n" for number, text in enumerate(shown, 1))
    return f"{HEADER}{items}{len(examples) + 1}."


def instructions_stops(last: int, chat: bool) -> list[str]:
    """Stops after item `last`, and for a base model at a blank line, after which it changes the subject.

    Chat models separate items by blank lines.
    """
    past = f"\n{last + 1}."
    return [past] if chat else ["\n\n", past]


def parse_instructions(text: str, finish_reason: str) -> list[ParsedItem]:
    """The items of an answer to `instructions_prompt`, at least one; the answer starts inside the first.

    An item may span several lines, up to the next number. The model's thoughts are passed over, and so are a fence and
    control tokens at the end. The last item is incomplete when the answer was cut at its token limit or ended by its
    server. Numbers as in "(9)" or "- 9." are read where the answer has no others. A chat model that repeats the first
    number leaves an empty item at the start, which is skipped.
    """
    written = text
    text = without_closing_fence(without_control_tokens(without_thoughts(text)))
    if written.strip() and not text.strip():
        return [ParsedItem(written.strip(), reason=Reason.INCOMPLETE)]
    starts = list(_LABEL.finditer(text)) or _other_labels(text)
    edges = [(0, 0), *((label.start(), label.end()) for label in starts), (len(text), len(text))]
    raws = [text[edge[1] : following[0]].strip() for edge, following in itertools.pairwise(edges)]
    items = [_item(raw, mark) for raw, mark in zip(raws, ["", *map(_open_mark, starts)], strict=True)]
    if not raws[0] and len(items) > 1:
        items = items[1:]
    if is_cut_off(finish_reason):
        items[-1] = ParsedItem(items[-1].raw, reason=Reason.INCOMPLETE)
    return items


def _other_labels(text: str) -> list[re.Match[str]]:
    """Numbers in parentheses or behind bullets. From 1 or 2 on they rather count the parts of one instruction."""
    found = list(_OTHER_LABEL.finditer(text))
    return found if found and int(found[0]["number"]) > 2 else []


def _open_mark(label: re.Match[str]) -> str:
    """The mark of bold or italics that begins before the item's number and ends in its text; "" without one."""
    return "" if label["close"] or label["late_close"] else label["open"]


def _item(raw: str, mark: str) -> ParsedItem:
    instruction = " ".join((raw.replace(mark, "", 1) if mark else raw).split())
    if not instruction:
        return ParsedItem(raw, reason=Reason.NO_INSTRUCTION)
    return ParsedItem(raw, Task(instruction[0].upper() + instruction[1:]))


INSTRUCTION_LIST = ListFormat(
    "instructions",
    whole_tasks=False,
    item_tokens=25,  # Self-Instruct's published set has 15.9 words per instruction
    prompt=lambda examples, new: instructions_prompt([task.instruction for task in examples]),
    stops=instructions_stops,
    parse=parse_instructions,
)
