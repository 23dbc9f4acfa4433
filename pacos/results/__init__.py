"""What the stages write, file by file: a dataclass for each, built by its writer and read by the report.

    write_result(path, Comparison(…))
    comparison = read_result(path, Comparison, todo="evaluate again")

A field's name is the file's key. Keys may be added: a field that an earlier version did not write has a default, and a
key that this version does not know is passed over.
"""

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

    Raises DataError, with `todo`, for a file that is not there, is not JSON, or lacks what the result needs.
    """
    return parse_result(read_object(path, todo=todo), kind, where=path, todo=todo)


def parse_result(values: Mapping[str, Any], kind: type[Result], *, where: Path, todo: str) -> Result:
    """A result from the JSON object in the file `where`. Raises DataError, with `todo`, where it lacks something."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as invalid:
        first = invalid.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise DataError(f"`{key}`: {first['msg']}", where=str(where), todo=todo) from None
