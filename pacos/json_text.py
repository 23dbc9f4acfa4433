"""Text and JSON that anyone may have written, decoded and parsed: whatever is wrong is an error that names the place.

Every file of JSON that pacos reads comes through here, so that a key given twice, half a character or nesting without
end is the same error everywhere.
"""

import codecs
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

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

# Bytes of a file that are read at a time.
_PIECE = 1 << 20

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
        raise _not_utf8(broken, 1, where, error) from None


def decode_pieces(content: BinaryIO, where: str) -> Iterator[str]:
    """The text of a file of UTF-8, a piece at a time, without a byte-order mark. Raises DataError as `decode`."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")()
    line, block = 1, b" "
    while block:
        block = content.read(_PIECE)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as broken:
            raise _not_utf8(broken, line, where, DataError) from None
        if text:
            yield text
        line += block.count(b"\n")


def _not_utf8(broken: UnicodeDecodeError, first_line: int, where: str, error: type[PacosError]) -> PacosError:
    line = first_line + broken.object.count(b"\n", 0, broken.start)
    return error(
        f"is not UTF-8: byte 0x{broken.object[broken.start]:02x} in line {line}",
        where=where,
        todo="save it as UTF-8, or convert it, e.g. iconv -f WINDOWS-1252 -t UTF-8",
    )


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


def parse_json_list(pieces: Iterator[str], where: str) -> Iterator[tuple[str, Any]]:
    """Yield (place, element) of a JSON list whose text comes in pieces, of which it holds no more than an element
    takes. Raises DataError as `parse_json`, with the row."""
    text = _PartOfText(pieces)
    text.peek()
    text.position += 1
    number = 0
    while text.peek() != "]" or number:
        number += 1
        row = f"{where}:row {number}"
        yield row, text.value(row)
        if (follows := text.peek()) == "]":
            break
        if follows != ",":
            todo = None if follows else "close the list"
            what = "not JSON: a comma or the end of the list is missing"
            raise DataError(what, where=f"{where}:{text.line}", todo=todo)
        text.position += 1
    text.position += 1
    if text.peek():
        raise DataError("not JSON: more follows the list", where=f"{where}:{text.line}")


class _PartOfText:
    """What is not parsed yet of a text that comes in pieces, from `position` on, as far as it has come."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._start = _Start()
        self.position = 0

    @property
    def line(self) -> int:
        """The number of the line at the position."""
        return self._start.lines + self._text.count("\n", 0, self.position) + 1

    def peek(self) -> str:
        """The next character that is not blank, which is then at the position; "" at the end of the text."""
        while (position := _skip_blanks(self._text, self.position)) == len(self._text):
            self.position = position
            if not self._read_on():
                return ""
        self.position = position
        return self._text[position]

    def value(self, where: str) -> Any:
        """The JSON value at the position, which moves behind it. Raises DataError."""
        while True:
            try:
                value, end = _parse_at(self._text, self.position, where, start=self._start)
            except DataError:
                if not self._read_on():
                    raise
                continue
            # A number may go on in the next piece, be it after a "." or an "e-" that is no part of this value.
            if end + 2 >= len(self._text) and self._read_on():
                continue
            self.position = end
            return value

    def _read_on(self) -> bool:
        """Read as much again as there is; whether there was anything."""
        rest = self._text[self.position :]
        more: list[str] = []
        while sum(map(len, more)) <= len(rest) and (piece := next(self._pieces, "")):
            more.append(piece)
        if more:
            self._start = self._start.moved(self._text, self.position)
            self._text, self.position = "".join([rest, *more]), 0
        return bool(more)


def _skip_blanks(text: str, position: int) -> int:
    found = _BLANKS.match(text, position)
    return found.end() if found else position


class _Start(NamedTuple):
    """Where a text begins within a longer one: so many lines before it, and columns in its first line."""

    lines: int = 0
    columns: int = 0

    def moved(self, text: str, position: int) -> "_Start":
        """Where the rest of `text`, which begins here, begins from `position` on."""
        lines = text.count("\n", 0, position)
        columns = position - text.rfind("\n", 0, position) - 1
        return _Start(self.lines + lines, columns if lines else self.columns + columns)


_BEGINNING = _Start()


def _parse_at(
    text: str, position: int, where: str, repair: bool = False, start: _Start = _BEGINNING
) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
        # Walked only where there is something to find, as most texts have neither.
        if text.count("[", position, end) + text.count("{", position, end) > DEEPEST:
            _check_depth(value)
        if _ESCAPED_SURROGATE.search(text, position, end):
            value = _repaired(value) if repair else _checked(value)
    except json.JSONDecodeError as broken:
        at = start.moved(text, broken.pos)
        line = f":{at.lines + 1}" if at.lines else ""
        raise DataError(f"not JSON: {broken.msg} at character {at.columns + 1}", where=f"{where}{line}") from None
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
