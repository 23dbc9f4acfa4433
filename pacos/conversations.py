"""Conversations, read from rows of any common form, which their columns tell.

| columns | form |
|---|---|
| `messages`: [{role, content}] | OpenAI's, TRL's |
| `conversations`: [{from, value}] | ShareGPT's; `system` beside it |
| `instruction`, `input`, `output`, and maybe `system`, `history`: [[user, assistant]] | Alpaca's, LLaMA-Factory's |
| `prompt`, `completion` | both texts, or both lists of messages |

A conversation has at most one system text, at its beginning; user and assistant alternate, the user first. Turns may be
empty. What a text-only chat model cannot be trained on (tools, images) is refused, never dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pacos.errors import DataError
from pacos.json_text import SURROGATE, parse_json
from pacos.templates import chat_turn

# The columns that hold a list of messages.
LISTS = ("messages", "conversations", "conversation")
# A message's keys for who speaks and what, by the project whose form it is.
ROLE_KEYS = {"role": "content", "from": "value"}
ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "model": "assistant",
}
# Columns and keys of a message whose content cannot be trained on; what is null or empty is absent.
REFUSED_COLUMNS = {
    "tools": "tools",
    "functions": "tools",
    "images": "images",
    "image": "images",
    "videos": "videos",
    "audios": "sound",
}
REFUSED_KEYS = {
    "tool_calls": "calls of tools",
    "function_call": "calls of tools",
    "tool_call_id": "answers of tools",
    "reasoning_content": "reasoning apart from the answer",
    "reasoning": "reasoning apart from the answer",
    "thinking": "reasoning apart from the answer",
    "images": "images",
    "audio": "sound",
}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn: its role (system, user or assistant) and its text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns of a conversation, a system text first where there is one; the last is the assistant's."""

    messages: tuple[Message, ...]


def is_conversation(values: Mapping[str, Any]) -> bool:
    """Whether a row has the columns of a conversation, beyond Alpaca's own."""
    if any(values.get(key) is not None for key in (*LISTS, "completion")):
        return True
    return any(values.get(key) not in (None, "", []) for key in ("system", "history"))


def read_conversation(values: Any, *, where: str) -> Conversation:
    """A row as a conversation. Raises DataError naming `where` and the column or turn that is wrong.

    A system text that is empty counts as absent.
    """
    if not isinstance(values, dict):
        raise DataError("a conversation is a JSON object", where=where)
    refuse_other_content(values, where=where)
    messages = with_system(_own_messages(values, where), values, where=where)
    check_order(messages, where=where)
    if len(messages) < 2 or messages[-1].role != "assistant":
        raise DataError(
            f"turn {len(messages)} is the {messages[-1].role}'s and the last: there is no answer to train on"
            if messages
            else "has no turns",
            where=where,
            todo="end each conversation with the assistant's turn",
        )
    return Conversation(messages)


def _own_messages(values: Mapping[str, Any], where: str) -> tuple[Message, ...]:
    """The turns of a row, without those of the columns `system`; checked one by one, not for their order."""
    forms = [key for key in LISTS if values.get(key) is not None]
    pair = values.get("prompt") is not None and values.get("completion") is not None
    alpaca = values.get("instruction") is not None and values.get("output") is not None
    if len(forms) + pair + alpaca > 1:
        names = [*forms, *["prompt and completion"] * pair, *["instruction and output"] * alpaca]
        raise DataError(f"has two forms at once: {' and '.join(names)}", where=where, todo="keep one of them")
    if forms:
        return read_messages(values[forms[0]], forms[0], where=where)
    if pair:
        return (
            *text_or_messages(values["prompt"], "prompt", "user", where=where),
            *text_or_messages(values["completion"], "completion", "assistant", where=where),
        )
    if alpaca:
        return (*alpaca_prompt_messages(values, where=where), Message("assistant", _text(values, "output", where)))
    raise DataError(
        "is no conversation: it has none of the columns messages; conversations; prompt and completion; "
        f"instruction and output, but {', '.join(map(str, values)) or 'none at all'}",
        where=where,
        todo="rename its columns",
    )


def read_messages(value: Any, column: str, *, where: str) -> tuple[Message, ...]:
    """A list of messages, of either project's form, or its JSON text (a cell of CSV)."""
    if isinstance(value, str):
        value = parse_json(value, f"{where}, `{column}`")
    if isinstance(value, Mapping):  # a column of structs as some versions of `datasets` give it
        columns = {key: part for key, part in value.items() if isinstance(part, list)}
        value = [dict(zip(columns, row, strict=False)) for row in zip(*columns.values(), strict=False)]
    if not isinstance(value, list) or not value:
        raise DataError(f"`{column}` must be a list of messages", where=where)
    return tuple(_message(one, f"{where}, turn {number} of `{column}`") for number, one in enumerate(value, 1))


def _message(values: Any, where: str) -> Message:
    if not isinstance(values, Mapping):
        raise DataError("a message is a JSON object with role and content", where=where)
    keys = [key for key in ROLE_KEYS if values.get(key) is not None]
    if len(keys) != 1:
        todo = "give role and content, or from and value"
        raise DataError(f"a message has one role, and this has {len(keys)}", where=where, todo=todo)
    role = values[keys[0]]
    if not isinstance(role, str) or role.lower() not in ROLES:
        known = "the roles are system, user (human) and assistant (gpt)"
        kept = "tools are not supported: leave such conversations out" if _is_tool(role) else known
        raise DataError(f"the role {role!r} cannot be trained on", where=where, todo=kept)
    for key, what in REFUSED_KEYS.items():
        if values.get(key) not in (None, "", [], {}):
            raise DataError(
                f"`{key}` has {what}, which would be lost",
                where=where,
                todo="write it into the content as the chat template does, or leave such conversations out",
            )
    if values.get("weight", 1) not in (None, 1) or values.get("train", True) not in (None, True):
        raise DataError("is marked as not to be trained on, which would be lost", where=where, todo="see train.learn")
    return Message(ROLES[role.lower()], _content(values.get(ROLE_KEYS[keys[0]]), ROLE_KEYS[keys[0]], where))


def _is_tool(role: Any) -> bool:
    return isinstance(role, str) and any(
        name in role.lower() for name in ("tool", "function", "observation", "ipython")
    )


def _content(content: Any, key: str, where: str) -> str:
    """A message's text; OpenAI's list of parts where all of them are texts."""
    if isinstance(content, list):
        kinds = [part.get("type", "a part") if isinstance(part, Mapping) else "a part" for part in content]
        odd = [kind for kind in kinds if kind != "text"]
        if odd:
            raise DataError(f"holds {odd[0]}: only text can be trained on", where=where)
        content = "".join(part["text"] for part in content if isinstance(part.get("text"), str))
    if not isinstance(content, str):
        raise DataError(f"`{key}` must be text" if content is not None else f"`{key}` is missing", where=where)
    return checked(content, where)


def checked(text: str, where: str) -> str:
    """The text. Raises DataError for half a character, which no tokenizer takes."""
    if half := SURROGATE.search(text):
        before = text[: half.start()][-20:]
        raise DataError(f"has half a character, U+{ord(half.group()):04X}, after {before!r}", where=where)
    return text


def text_or_messages(value: Any, column: str, role: str, *, where: str) -> tuple[Message, ...]:
    """The messages of a column that has either a text, which is `role`'s, or messages."""
    if isinstance(value, str):
        return (Message(role, checked(value, where)),)
    return read_messages(value, column, where=where)


def alpaca_prompt_messages(values: Mapping[str, Any], *, where: str) -> tuple[Message, ...]:
    """The turns of `history`, and the user's of `instruction` and `input`, joined by a blank line."""
    turns = [
        Message(role, checked(text, where))
        for pair in _history(values.get("history"), where)
        for role, text in zip(("user", "assistant"), pair, strict=True)
    ]
    instruction, input = _text(values, "instruction", where), _text(values, "input", where, absent="")
    if not instruction.strip() and not input.strip():
        raise DataError("`instruction` is empty", where=where)
    return (*turns, Message("user", chat_turn(instruction, input)))


def _history(value: Any, where: str) -> Sequence[Sequence[str]]:
    if isinstance(value, str) and value.strip():
        value = parse_json(value, f"{where}, `history`")
    if value and not isinstance(value, list):
        raise DataError("`history` is not a list of [user's text, assistant's text]", where=where)
    for number, pair in enumerate(value or (), 1):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise DataError(f"pair {number} of `history` is not [user's text, assistant's text]", where=where)
    return value or ()


def _text(values: Mapping[str, Any], key: str, where: str, *, absent: str | None = None) -> str:
    text = values.get(key)
    if text is None and absent is not None:
        return absent
    if not isinstance(text, str):
        raise DataError(f"`{key}` must be text" if key in values else f"`{key}` is missing", where=where)
    return checked(text, where)


def with_system(messages: tuple[Message, ...], values: Mapping[str, Any], *, where: str) -> tuple[Message, ...]:
    """The turns with the text of the column `system` (or `system_prompt`) before them; an empty one is absent."""
    if messages and messages[0].role == "system" and not messages[0].content.strip():
        messages = messages[1:]
    texts = [_text(values, key, where) for key in ("system", "system_prompt") if values.get(key) is not None]
    texts = [text for text in texts if text.strip()]
    if not texts:
        return messages
    if len(texts) > 1 or (messages and messages[0].role == "system"):
        raise DataError("has two system texts", where=where, todo="keep one of them")
    return (Message("system", texts[0]), *messages)


def refuse_other_content(values: Mapping[str, Any], *, where: str) -> None:
    """Raise DataError for a row with columns of tools or images that are not empty."""
    for key, what in REFUSED_COLUMNS.items():
        if values.get(key) not in (None, "", [], {}, "[]"):
            raise DataError(
                f"`{key}` has {what}, which cannot be trained on", where=where, todo="leave such conversations out"
            )


def check_order(messages: Sequence[Message], *, where: str) -> None:
    """Raises DataError, naming the turn, unless user and assistant alternate behind at most one system text."""
    system = bool(messages) and messages[0].role == "system"
    for number, message in enumerate(messages[system:], 1 + system):
        expected = ("assistant", "user")[(number - system) % 2]
        if message.role != expected:
            what = "a system text stands first or nowhere" if message.role == "system" else f"{expected}'s was expected"
            raise DataError(
                f"turn {number} is the {message.role}'s: {what}",
                where=where,
                todo="user and assistant alternate, the user first; join or remove turns",
            )
