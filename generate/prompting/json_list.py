"""Reads an answer that writes the tasks as JSON: a list, an object around a list, or an object a line."""

import json
import re
from collections.abc import Iterator
from typing import Any

from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.answer_text import plain_task, without_control_tokens
from pacos.generate.prompting.items import ParsedItem, is_no_input
from pacos.json_text import SURROGATE
from pacos.records import Task

_START = re.compile(r"""^[ \t]*+(?:(?:```|~~~)[ \t]*+\w*+\s*+)?(?:\[\s*+)?\{\s*+"[^"\n]*+"\s*+:""", re.MULTILINE)
_OBJECT = re.compile(r'\{\s*+"')
_HAS_INSTRUCTION = re.compile(r'"instruction"\s*:', re.IGNORECASE)

# After so many objects that cannot be read the rest is taken as one broken item; each costs a pass over what is left.
_MOST_BROKEN = 8

# Line ends in strings are no JSON, but models write them.
_DECODER = json.JSONDecoder(strict=False)


def json_start(text: str) -> int | None:
    """Where a line of the text begins with a JSON object or a list of them, if any does."""
    start = _START.search(text)
    return start.start() if start else None


def parse_json_list(text: str, *, start: int, cut: bool) -> list[ParsedItem]:
    """The tasks in the JSON from `start` on; none where it holds no object with an instruction.

    The last item is incomplete where the answer ends within it, or was `cut`.
    """
    items = list(_items(text, start))
    if items and cut:
        items[-1] = ParsedItem(items[-1].raw, reason=Reason.INCOMPLETE)
    return items


def _items(text: str, place: int) -> Iterator[ParsedItem]:
    broken = 0
    failed: int | None = None  # where an object begins that may be an item and could not be read
    while broken < _MOST_BROKEN and (start := _OBJECT.search(text, place)):
        try:
            value, place = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError) as failure:
            broken = _MOST_BROKEN if isinstance(failure, RecursionError) else broken + 1
            failed = start.start() if failed is None else failed
            place = start.start() + 1
            continue
        tasks, raw = list(_tasks(value)), text[start.start() : place]
        if tasks and failed is not None and _HAS_INSTRUCTION.search(text, failed, start.start()):
            yield ParsedItem(text[failed : start.start()].strip(" \t\r\n,"), reason=Reason.INCOMPLETE)
        failed = None if tasks else failed
        for task in tasks:
            yield _item(task, raw if len(tasks) == 1 else _own_text(task))
    if failed is not None and _HAS_INSTRUCTION.search(text, failed):
        yield ParsedItem(text[failed:].strip(), reason=Reason.INCOMPLETE)


def _tasks(value: Any) -> Iterator[dict[str, Any]]:
    """The objects with an instruction: the value itself, or those in a list that it holds."""
    named = {key.casefold(): part for key, part in value.items()}
    if "instruction" in named:
        yield named
        return
    for part in value.values():
        for one in part if isinstance(part, list) else ():
            if isinstance(one, dict) and "instruction" in (names := {key.casefold(): it for key, it in one.items()}):
                yield names


def _own_text(task: dict[str, Any]) -> str:
    """An object of several in one list, as text: the parts of it that are texts."""
    return json.dumps({key: part for key, part in task.items() if isinstance(part, str)}, ensure_ascii=False)


def _item(task: dict[str, Any], raw: str) -> ParsedItem:
    texts = {part: _text(task.get(part)) for part in ("instruction", "input", "output")}
    instruction, input, output = texts.values()
    if instruction is None or input is None or output is None:
        return ParsedItem(raw, reason=Reason.NOT_TEXT)
    if not instruction:
        return ParsedItem(raw, reason=Reason.NO_INSTRUCTION)
    if not output:
        return ParsedItem(raw, reason=Reason.NO_OUTPUT)
    return ParsedItem(raw, plain_task(Task(instruction, "" if is_no_input(input) else input, output)))


def _text(value: Any) -> str | None:
    """A part as text: "" where it is absent, and None for what is none: a list, an object, half a surrogate pair."""
    if isinstance(value, str):
        return None if SURROGATE.search(value) else without_control_tokens(value.strip())
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool | int | float) else None
