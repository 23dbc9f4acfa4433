"""What the stages write, file by file: a dataclass for each, built by its writer and read by the report.

    write_result(path, Comparison(…))
    comparison = read_result(path, Comparison, todo="evaluate again")

A field's name is the file's key. Keys may be added: a field that an earlier version did not write has a default, and a
key that this version does not know is passed over.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pacos.errors import DataError
from pacos.files import read_object, write_json

Result = TypeVar("Result")


def write_result(path: Path, result: Any) -> None:
    """Write a result as JSON; an interrupted write leaves the old file."""
    write_json(path, plain(result))


def plain(result: Any) -> Any:
    """A result as JSON has it: mappings, lists, texts, numbers and null."""
    if is_dataclass(result):
        return {field.name: plain(getattr(result, field.name)) for field in fields(result)}
    if isinstance(result, Mapping):
        return {key: plain(value) for key, value in result.items()}
    if isinstance(result, list | tuple):
        return [plain(value) for value in result]
    return result


def extend(kind: type[Result], base: Any, **more: Any) -> Result:
    """Return a `kind` that has the fields of `base`, an instance of one of its base classes, and `more`."""
    return kind(**{field.name: getattr(base, field.name) for field in fields(base)}, **more)


def read_result(path: Path, kind: type[Result], *, todo: str) -> Result:
    """Read a result back.

    Raises DataError, with `todo`, for a file that is not there, is not JSON, or is no such result (`parse_result`).
    """
    return parse_result(read_object(path, todo=todo), kind, where=path, todo=todo)


def parse_result(values: Mapping[str, Any], kind: type[Result], *, where: Path, todo: str) -> Result:
    """A result from the JSON object in the file `where`.

    Raises DataError, with the key and `todo`, where something is missing, of another type (a number as text, a truth
    value as a number), not a finite number, or at odds with the rest.
    """
    if place := _not_finite(values):
        raise DataError(f"`{place}`: is not a finite number", where=str(where), todo=todo)
    try:
        # From JSON, where pydantic is strict about types and yet makes dataclasses of objects.
        return TypeAdapter(kind).validate_json(json.dumps(values), strict=True)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{key and f'`{key}`: '}{first['msg']}", where=str(where), todo=todo) from None


def _not_finite(value: Any, place: str = "") -> str:
    """Where a JSON value has NaN, an infinity, or an integer beyond all floats; "" if nowhere."""
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:
        return place
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = (_not_finite(part, f"{place}.{key}" if place else str(key)) for key, part in parts)
    return next(filter(None, found), "")
