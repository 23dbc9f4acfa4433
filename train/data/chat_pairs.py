"""Preference pairs of conversations: turns that both share, and the turns of the chosen and of the rejected answer.

| columns beside `chosen` and `rejected` | form |
|---|---|
| `prompt`: text or messages | answers as texts or messages, with or without the prompt's turns before them |
| `messages` or `conversations` | the shared turns; answers as texts, messages or single messages |
| `instruction`, `input`, and maybe `system`, `history` | answers as texts |
| none | whole lists of messages with a common beginning |
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pacos.conversations import (
    LISTS,
    Message,
    alpaca_prompt_messages,
    check_order,
    read_messages,
    refuse_other_content,
    text_or_messages,
    with_system,
)
from pacos.errors import DataError


@dataclass(frozen=True, slots=True)
class ChatPair:
    """A row of preferences: the shared turns, the last of them the user's, and those that follow in either answer."""

    prompt: tuple[Message, ...]
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]


def parse_chat_pair(values: Any, *, where: str) -> ChatPair:
    """A row as a ChatPair. Raises DataError naming `where` and the column or turn that is wrong."""
    if not isinstance(values, dict):
        raise DataError("a preference pair is a JSON object", where=where)
    refuse_other_content(values, where=where)
    prompt = _prompt(values, where)
    chosen, rejected = (_answer(values, key, where) for key in ("chosen", "rejected"))
    if prompt:
        chosen, rejected = (_behind(prompt, answer) for answer in (chosen, rejected))
    else:
        prompt, chosen, rejected = _split(chosen, rejected)
    prompt = with_system(prompt, values, where=where)
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        place = f"{where}, `{name}`"
        check_order((*prompt, *answer), where=place)
        if not prompt or prompt[-1].role != "user" or not answer or answer[-1].role != "assistant":
            raise DataError(
                "an answer follows a user's turn and ends in an assistant's",
                where=place,
                todo="both answers share all turns up to a user's, where they part",
            )
    return ChatPair(prompt, chosen, rejected)


def _prompt(values: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    """The shared turns that a column gives; none where whole conversations are compared."""
    lists = [key for key in (*LISTS, "prompt") if values.get(key) not in (None, "", [])]
    if values.get("instruction"):
        lists.append("instruction")
    if len(lists) > 1:
        raise DataError(f"has two prompts: {' and '.join(lists)}", where=where, todo="keep one of them")
    if not lists:
        return ()
    [key] = lists
    if key == "instruction":
        return alpaca_prompt_messages(values, where=where)
    if key == "prompt":
        return text_or_messages(values[key], key, "user", where=where)
    return read_messages(values[key], key, where=where)


def _answer(values: Mapping[str, Any], key: str, where: str) -> tuple[Message, ...]:
    value = values.get(key)
    if value is None:
        raise DataError(f"`{key}` is missing", where=where)
    return text_or_messages([value] if isinstance(value, Mapping) else value, key, "assistant", where=where)


def _behind(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> tuple[Message, ...]:
    """The answer without the prompt's turns, where it repeats them."""
    return answer[len(prompt) :] if answer[: len(prompt)] == prompt else answer


def _split(
    chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    """(the common beginning, what follows in each); equal conversations part before their last turn."""
    pairs = zip(chosen[:-1], rejected[:-1], strict=False)
    common = next((place for place, (one, other) in enumerate(pairs) if one != other), None)
    common = min(len(chosen), len(rejected)) - 1 if common is None else common
    return chosen[:common], chosen[common:], rejected[common:]
