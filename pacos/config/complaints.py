"""What is wrong with an experiment's values, a sentence for each key, from what pydantic found."""

import difflib
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, get_origin

from pacos.config.engine import UNSAID
from pacos.config.experiment import Config
from pacos.config.reference import section_of

Error = Mapping[str, Any]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 100

# By pydantic's type of an error, where its own message speaks of Python.
_MESSAGES = {
    "model_type": "should be a section, that is keys with their values",
    "dict_type": "should be a mapping, that is keys with their values",
    "string_pattern_mismatch": "should have letters, digits, `.`, `_` and `-` only, and begin with a letter or digit",
}


def complaints(errors: Sequence[Error]) -> str:
    """All errors of a validation, each key once; a value may have failed as one of several types."""
    by_key: dict[str, list[Error]] = {}
    for error in errors:
        by_key.setdefault(_place(error["loc"])[0], []).append(error)
    return "; ".join(_complaint(key, found) for key, found in by_key.items())


def _complaint(key: str, errors: Sequence[Error]) -> str:
    first = errors[0]
    if first["type"] == "extra_forbidden":
        known = list(_place(first["loc"][:-1])[1].model_fields)
        near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1, cutoff=0.5)
        hint = f"did you mean `{near[0]}`?" if near else f"known here: {', '.join(known)}"
        return f"unknown key `{key}`; {hint}"
    if first["type"] == "missing":
        return f"`{key}` is missing"
    messages = list(dict.fromkeys(map(_message, errors)))
    others = "".join(f", or {message.partition('should be ')[2] or message}" for message in messages[1:])
    if first["type"] == UNSAID or not key:
        return f"`{key}`: {messages[0]}" if key else messages[0]
    is_number = isinstance(first["input"], int | float)
    quotes = "; write it in quotes" if first["type"] == "string_type" and is_number else ""
    return f"`{key}`: {messages[0]}{others}, not {_SHORT.repr(first['input'])}{quotes}"


def _message(error: Error) -> str:
    message = _MESSAGES.get(error["type"]) or str(error["msg"]).removeprefix("Value error, ")
    message = message.partition(", unable to")[0]
    return message if error["type"] == UNSAID else message[:1].lower() + message[1:]


def _place(location: Sequence[str | int]) -> tuple[str, Any]:
    """(the dotted key of an error, without the types that pydantic tried; the section that the key is, or None)."""
    parts: list[str] = []
    section: Any = Config
    has_keys = False
    for part in location:
        if isinstance(part, int):
            parts.append(str(part))
        elif section is not None:
            parts.append(part)
            annotation = section.model_fields[part].annotation if part in section.model_fields else None
            section, has_keys = section_of(annotation)[0], get_origin(annotation) is dict
        elif has_keys:
            parts.append(part)
            has_keys = False
    return ".".join(parts), section
