"""Self-Instruct, phase 1: a numbered list of instructions, which the model goes on with.

Structure, counts and decoding follow self-instruct `bootstrap_instructions.py`; the words are ours. Left out of the
original: it lower-cased all but the first letter ("Python" became "python"), dropped every item of an answer cut at its
token limit (here only the last), and stopped on a bare "16.", which may stand in an instruction.
"""

import itertools
import re
from collections.abc import Sequence

from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.parsing import ParsedItem
from pacos.records import Task

HEADER = "Write a series of varied tasks for somebody who only reads and writes text:\n"

_LABEL = re.compile(r"^[ \t]*[*_]{0,2}(?:task[ \t]*)?\d{1,3}[ \t]?[*_]{0,2}[.):][*_]{0,2}(?=\s|$)", re.I | re.M)


def instructions_prompt(examples: Sequence[str]) -> str:
    """A prompt whose completion is item `len(examples) + 1` and those after it."""
    shown = (" ".join(text.split()).rstrip(":") for text in examples)
    items = "".join(f"{number}. {text}\n" for number, text in enumerate(shown, 1))
    return f"{HEADER}{items}{len(examples) + 1}."


def instructions_stops(last: int, chat: bool) -> list[str]:
    """Stops behind item `last`, and for a base model at the blank line after which it turns to something else.

    Chat models part items by blank lines.
    """
    past = f"\n{last + 1}."
    return [past] if chat else ["\n\n", past]


def parse_instructions(text: str, finish_reason: str) -> list[ParsedItem]:
    """The items of an answer to `instructions_prompt`, which starts inside the first of them; one at least.

    An item runs over line breaks up to the next number. The last one is incomplete when the answer was cut at
    its token limit. A chat model that repeats the first number has an empty item in front, which is passed over.
    """
    starts = list(_LABEL.finditer(text))
    edges = [(0, 0), *((label.start(), label.end()) for label in starts), (len(text), len(text))]
    raws = [text[edge[1] : following[0]].strip() for edge, following in itertools.pairwise(edges)]
    if not raws[0] and len(raws) > 1:
        raws = raws[1:]
    items = [_item(raw) for raw in raws]
    if finish_reason == "length":
        items[-1] = ParsedItem(items[-1].raw, reason=Reason.INCOMPLETE)
    return items


def _item(raw: str) -> ParsedItem:
    instruction = " ".join(raw.split()).strip("*_ ").rstrip(":").rstrip()
    if not instruction:
        return ParsedItem(raw, reason=Reason.NO_INSTRUCTION)
    return ParsedItem(raw, Task(instruction[0].upper() + instruction[1:]))
