"""Text and JSON that anyone may have written, decoded and parsed: whatever is wrong is an error that names the place.

Every file of JSON that pacos reads comes through here, so that a key given twice, half a character or nesting without
end is the same error everywhere.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pacos.errors import DataError, PacosError

# What a file begins with that is not text in UTF-8, and what to do about it.
_OTHER_FORMS = (
    (b"\x1f\x8b", "is compressed by gzip", "unpack it: gunzip FILE"),
    (b"PK\x03\x04", "is a zip archive", "unpack it"),
    (b"\x28\xb5\x2f\xfd", "is compressed by zstd", "unpack it: unzstd FILE"),
    (b"BZh", "is compressed by bzip2", "unpack it: bunzip2 FILE"),
    (b"\xfd7zXZ\x00", "is compressed by xz", "unpack it: unxz FILE"),
    (b"PAR1", "is a Parquet file", "put it into a folder of its own and name that as hub:"),
    (b"ARROW1", "is an Arrow file", "put it into a folder of its own and name that as hub:"),
    (b"\xff\xfe", "is in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"\xfe\xff", "is in UTF-16", "convert it: iconv -f UTF-16 -t UTF-8"),
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file itself", "fetch it: git lfs pull"),
)
SIGNATURE_BYTES = max(len(signature) for signature, _, _ in _OTHER_FORMS)

BOM = b"\xef\xbb\xbf"
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
# Half a character: no text in UTF-8 has one.
SURROGATE = re.compile("[\ud800-\udfff]")
_BLANKS = re.compile(r"[ \t\r\n]*")

# Lists and objects in one another. No file of data needs more, and Python's own readers and writers end soon after.
DEEPEST = 100
_TOO_DEEP = "not JSON that can be read: it is nested too deeply"


def check_form(start: bytes, where: str, error: type[PacosError] = DataError) -> None:
    """Raise `error` where a file that begins with these bytes is compressed, binary, or not in UTF-8."""
    for signature, what, todo in _OTHER_FORMS:
        if start.startswith(signature):
            raise error(what, where=where, todo=todo)


def decode(content: bytes, where: str, error: type[PacosError] = DataError) -> str:
    """UTF-8 bytes as text, without a byte-order mark. Raises `error` for any other encoding."""
    check_form(content, where, error)
    try:
        return content.removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as broken:
        line = content.count(b"\n", 0, broken.start) + 1
        raise error(
            f"is not UTF-8: byte 0x{content[broken.start]:02x} in line {line}",
            where=where,
            todo="save it as UTF-8, or convert it, e.g. iconv -f WINDOWS-1252 -t UTF-8",
        ) from None


def read_text(path: Path, error: type[PacosError] = DataError) -> str:
    """A file's text. Raises `error` where it is absent, a folder, unreadable, or not in UTF-8."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as failure:
        raise unreadable(failure, path, error) from None
    return decode(content, str(path), error)


def unreadable(failure: Exception, path: Path, error: type[PacosError] = DataError) -> PacosError:
    """The error of a file that cannot be opened or read: an OSError, or Python's ValueError for a NUL in the name."""
    if isinstance(failure, FileNotFoundError):
        return error("no such file", where=str(path))
    if isinstance(failure, IsADirectoryError):
        return error("is a folder, not a file", where=str(path))
    reason = getattr(failure, "strerror", None) or failure
    return error(f"cannot be read: {reason}", where=str(path), todo="check its name and its rights")


def parse_json(text: str, where: str, *, repair: bool = False) -> Any:
    """A JSON value. Raises DataError: not JSON, a key twice in an object, nesting or a number beyond what can be read.

    A `\\ud83d` without its other half is no character. It is an error too, or U+FFFD with `repair`.
    """
    value, end = _parse_at(text, _skip_blanks(text, 0), where, repair)
    if (rest := _skip_blanks(text, end)) < len(text):
        raise DataError(f"not JSON: more follows the value at character {rest + 1}", where=where)
    return value


def parse_json_list(text: str, where: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, element) of a JSON list, one at a time. Raises DataError as `parse_json`, with the row."""
    position = _skip_blanks(text, _skip_blanks(text, 0) + 1)
    number = 0
    while text[position : position + 1] != "]" or number:
        number += 1
        row = f"{where}:row {number}"
        value, position = _parse_at(text, position, row)
        yield row, value
        position = _skip_blanks(text, position)
        if text[position : position + 1] == "]":
            break
        if text[position : position + 1] != ",":
            line = text.count("\n", 0, position) + 1
            todo = "close the list" if position == len(text) else None
            raise DataError("not JSON: a comma or the end of the list is missing", where=f"{where}:{line}", todo=todo)
        position = _skip_blanks(text, position + 1)
    if (rest := _skip_blanks(text, position + 1)) < len(text):
        line = text.count("\n", 0, rest) + 1
        raise DataError("not JSON: more follows the list", where=f"{where}:{line}")


def _skip_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position


def _parse_at(text: str, position: int, where: str, repair: bool = False) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
        # Walked only where there is something to find, as most texts have neither.
        if text.count("[", position, end) + text.count("{", position, end) > DEEPEST:
            _check_depth(value)
        if _ESCAPED_SURROGATE.search(text, position, end):
            value = _repaired(value) if repair else _checked(value)
    except json.JSONDecodeError as broken:
        line = f":{broken.lineno}" if broken.lineno > 1 else ""
        raise DataError(f"not JSON: {broken.msg} at character {broken.colno}", where=f"{where}{line}") from None
    except RecursionError:
        raise DataError(_TOO_DEEP, where=where) from None
    except DataError as found:
        raise DataError(found.what, where=where, todo=found.todo) from None
    except ValueError:
        raise DataError("not JSON that can be read: a number has thousands of digits", where=where) from None
    return value, end


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(DEEPEST):
        level = [
            element
            for parent in level
            if isinstance(parent, list | dict)
            for element in (parent if isinstance(parent, list) else parent.values())
        ]
        if not level:
            return
    raise DataError(_TOO_DEEP)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise DataError(f"the key {twice!r} stands twice in one object", todo="keep one of the two")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object)


def _checked(value: Any) -> Any:
    for text in _texts(value):
        if half := SURROGATE.search(text):
            raise DataError(
                f"a text has half a character, U+{ord(half.group()):04X}, after {text[: half.start()][-20:]!r}",
                todo="write the whole character, or remove it",
            )
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)
    elif isinstance(value, dict):
        for key, element in value.items():
            yield key
            yield from _texts(element)


def _repaired(value: Any) -> Any:
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_repaired(element) for element in value]
    if isinstance(value, dict):
        return {_repaired(key): _repaired(element) for key, element in value.items()}
    return value
