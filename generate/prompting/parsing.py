"""Parses the items of an Alpaca list by each item's own labels, never by its position in the list.

    ###
    5. Instruction: …
    5. Input:
    …
    5. Output:
    …

Base models renumber, restart, repeat a number, write `##` or bold labels, and leave out Input or the
separator. An item starts at a numbered Instruction label, or at any label right under a separator line.
Within an item, labels with its own number take precedence, then those with another number, then bare ones; so neither
`###` nor a list "1. Input: …, 2. Output: …" inside an answer breaks it. Ambiguous items are not guessed at: they are
returned with a reason.
"""

import re
from dataclasses import dataclass

from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.answer_text import (
    is_cut_off,
    plain_task,
    without_closing_fence,
    without_control_tokens,
    without_thoughts,
)
from pacos.generate.prompting.items import NO_INPUT, ParsedItem, is_no_input
from pacos.generate.prompting.json_list import json_start, parse_json_list
from pacos.records import Task

# No two runs of blanks are adjacent: on a long blank line they would backtrack for minutes.
_LABEL = re.compile(
    r"""^[ \t]*(?:\#{1,6}[ \t]*)?
        (?:[-+*•][ \t]+(?=[*_(\[（]*\d))?
        (?:(?P<open>[*_]{2,3})[ \t]*)?
        (?:(?:task[ \t]+)?(?P<bracket>[(\[（])?(?P<number>\d{1,6})[ \t]*(?(bracket)[)\]）][.:]?|[.):．、])[ \t]*)?
        (?P<reopen>[*_]{2,3})?
        (?P<kind>instruction|input|output)
        [ \t]*(?:(?P<close>[*_]{2,3})[ \t]*)?[:：][ \t]*(?P<reclose>[*_]{2,3}(?=\s|$))?""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_SEPARATOR = re.compile(r"[ \t]*#{2,}[ \t\r]*")


@dataclass(frozen=True, slots=True)
class _Label:
    kind: str
    number: str
    start: int
    end: int
    unclosed_bold: bool


def parse_answer(text: str, finish_reason: str, *, as_published: bool = False) -> list[ParsedItem]:
    """The items of an answer to `alpaca.list_prompt`, at least one; the prompt ends in the first one's label.

    The model's thoughts are passed over. The last item is incomplete when the answer was cut at its token limit or
    ended by its server (`is_cut_off`). A list of JSON objects is read too. An input is made empty where `is_no_input`
    knows it, an item without an output has a reason, and control tokens and a closing fence at an output's end are
    taken off. `as_published`, that is as in stanford_alpaca's `generate_instruction.py`, only `<noinput>` is made
    empty, an output may be empty and stays as it is, and JSON is no list.
    """
    written, cut = text, is_cut_off(finish_reason)
    text = without_thoughts(text)
    if written.strip() and not text.strip():
        return [ParsedItem(written.strip(), reason=Reason.INCOMPLETE)]
    if not as_published and (found := _parse_json(text, cut)):
        return found
    labels = [_Label("instruction", "", 0, 0, False), *_labels(text)]
    starts = [label for label in labels if label.start == 0 == label.end or _starts_item(label, text)]
    items = []
    for start, following in zip(starts, [*starts[1:], None], strict=True):
        end = following.start if following else len(text)
        own = [label for label in labels if label is start or start.end <= label.start < end]
        body = _without_separators(text[:end], start.start)
        items.append(_parse_item(body, own, last=following is None, cut=cut, as_published=as_published))
    return items


def _parse_json(text: str, cut: bool) -> list[ParsedItem]:
    """The items of a JSON answer; none where a label comes first, since JSON may be what a task's output shows."""
    start = json_start(text)
    return [] if start is None or _LABEL.search(text, 0, start) else parse_json_list(text, start=start, cut=cut)


def _labels(text: str) -> list[_Label]:
    found = []
    for match in _LABEL.finditer(text):
        opened = (match["open"] or "") + (match["reopen"] or "")
        closed = (match["close"] or "") + (match["reclose"] or "")
        kind, number = match["kind"].lower(), (match["number"] or "").lstrip("0")
        # Marks behind a label that has none before it are its text: a blank to fill in.
        end = match.start("reclose") if match["reclose"] and not opened else match.end()
        found.append(_Label(kind, number, match.start(), end, len(opened) > len(closed)))
    return found


def _starts_item(label: _Label, text: str) -> bool:
    if label.kind == "instruction" and label.number:
        return True
    line_above = text[: label.start].rstrip().rpartition("\n")[2]
    return _SEPARATOR.fullmatch(line_above) is not None


def _without_separators(text: str, start: int) -> str:
    """The text up to the separator lines before the next item; offsets stay valid."""
    while True:
        text = text.rstrip()
        above, newline, last_line = text.rpartition("\n")
        if not newline or len(above) < start or not _SEPARATOR.fullmatch(last_line):
            return text
        text = above


def _parse_item(text: str, labels: list[_Label], *, last: bool, cut: bool, as_published: bool) -> ParsedItem:
    start, *rest = labels
    raw = text[start.start :].strip()
    if last and cut:
        return ParsedItem(raw, reason=Reason.INCOMPLETE)
    if start.kind != "instruction":
        return ParsedItem(raw, reason=Reason.NO_INSTRUCTION)
    number = start.number or next((label.number for label in rest if label.number), "")
    output = _choose([label for label in rest if label.kind == "output"], number)
    if output is None:
        return ParsedItem(raw, reason=Reason.INCOMPLETE if last else Reason.NO_OUTPUT)
    before = [label for label in rest if label.start < output.start]
    input = _choose([label for label in before if label.kind == "input"], number)
    if _mixed(rest, input, output, number):
        return ParsedItem(raw, reason=Reason.MIXED_LABELS)

    instruction = _content(text, start, (input or output).start)
    if not instruction:
        return ParsedItem(raw, reason=Reason.NO_INSTRUCTION)
    answer = _content(text, output, len(text))
    if not as_published:
        answer = _without_end_marks(answer)
    if not answer and not as_published:
        return ParsedItem(raw, reason=Reason.INCOMPLETE if last else Reason.NO_OUTPUT)
    material = _content(text, input, output.start) if input else ""
    if as_published:
        return ParsedItem(raw, Task(instruction, "" if material.lower() == NO_INPUT else material, answer))
    return ParsedItem(raw, plain_task(Task(instruction, "" if is_no_input(material) else material, answer)))


def _without_end_marks(answer: str) -> str:
    """The answer without what ends a list: control tokens, a closing fence and separators, in any order."""
    for _ in range(3):
        answer = _without_separators(without_closing_fence(without_control_tokens(answer)), 0)
    return answer


def _choose(labels: list[_Label], number: str) -> _Label | None:
    """The first label with the item's number, else the first with any number, else the first."""
    return min(labels, key=lambda label: (label.number != number, not label.number, label.start), default=None)


def _mixed(labels: list[_Label], input: _Label | None, output: _Label, number: str) -> bool:
    """Whether labels are left over that may belong to another item whose Instruction label is missing."""
    left = [label for label in labels if label not in (input, output)]
    numbered = [label for label in left if label.number]
    if any(label.number == number for label in numbered) or (output.number != number and numbered):
        return True
    openers = set()
    for label in (label for label in left if label.start > output.start):
        if label.kind == "output" and label.number in openers:
            return True
        if label.kind == ("input" if label.number else "instruction"):
            openers.add(label.number)
    return False


def _content(text: str, label: _Label, end: int) -> str:
    content = text[label.end : end]
    if label.unclosed_bold:
        content = content.replace("**", "", 1)
    return content.strip()
