"""Changes to JSON values, rows and bytes: some that damage, and some that mean nothing.

Every draw comes from the `Random` that is given, so that a case can be made again from its seed.
"""

import copy
import gzip
import json
import math
from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

Place = tuple[Any, ...]

# JSON that Python does not write, put in place of a marked text: RAW[i] for "@raw i@".
RAW = (
    "9" * 5_000, "1e999", "-0", "NaN", "Infinity", "-Infinity", "[" * 300 + "]" * 300, '{"a":' * 300 + "1" + "}" * 300,
    "[" * 20_000, '{"k": 1, "k": 2}', "undefined", "'text'", "True", "0x10", "01", '"\\ud83d"', '"\\udc00\\ud800"',
    '"\\x00"', '"\t"', '"a\nb"', "", "//",
)  # fmt: skip

TEXTS = (
    "", " ", "x", "\n", "a\0b", "\x1b[31mred\x07", "\u202eabc\u2066", "\ufeff", "\u200b", "\ud83d", "é" * 40, "日本語",
    "🦙", "a" * 100_000, "\n" * 20_000, " " * 20_000, "../../x", "/etc/passwd", "~", "NA", "null", "true", "1", "1.0",
    "=1+1", "<think>", "{{ x }}", "%s %d", "---", "key: value", "2024-02-30", "version https://git-lfs.github.com",
)  # fmt: skip

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 5, 2**31, 2**63, -(2**63) - 1, 10**30, 0.5, -0.0, 1e308, 5e-324, math.nan, math.inf,
    [], [None], ["x"], [1, "x"], [[]], {}, {"a": 1}, {"": None}, {"a": {"a": {"a": []}}}, *TEXTS,
)  # fmt: skip

FOREIGN_BEGINNINGS = (
    b"\x1f\x8b\x08\x00", b"PK\x03\x04", b"PAR1", b"ARROW1\x00\x00", b"\x28\xb5\x2f\xfd", b"BZh9", b"\xfd7zXZ\x00",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", b"<!DOCTYPE html><html>", b"%PDF-1.7",
    b"\x80\x04\x95", b"GGUF", b"\x93NUMPY", b"#!/bin/sh\n",
)  # fmt: skip


def places(value: Any, at: Place = ()) -> Iterator[Place]:
    """The place of every part of a JSON value, its own among them."""
    yield at
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from places(part, (*at, key))


def part_at(value: Any, at: Place) -> Any:
    for key in at:
        value = value[key]
    return value


def mutated(value: Any, draw: Random) -> tuple[Any, str]:
    """(the value with one part changed, what was changed)"""
    at = draw.choice([place for place in places(value) if place] or [()])
    if not at:
        return draw.choice(VALUES), "replace"
    changed = copy.deepcopy(value)
    parent, key = part_at(changed, at[:-1]), at[-1]
    change = draw.choice(_CHANGES)
    change(parent, key, draw)
    return changed, f"{change.__name__.lstrip('_')} {'.'.join(map(str, at))}"


def _replace(parent: Any, key: Any, draw: Random) -> None:
    parent[key] = draw.choice(VALUES)


def _replace_by_raw(parent: Any, key: Any, draw: Random) -> None:
    parent[key] = f"@raw {draw.randrange(len(RAW))}@"


def _retype(parent: Any, key: Any, draw: Random) -> None:
    value = parent[key]
    if isinstance(value, str):
        parent[key] = draw.choice([[value], {"text": value}, len(value), [], None])
    else:
        parent[key] = draw.choice([str(value), [value], {"value": value}, json.dumps(value)])


def _delete(parent: Any, key: Any, draw: Random) -> None:
    del parent[key]


def _rename(parent: Any, key: Any, draw: Random) -> None:
    if isinstance(parent, dict):
        parent[draw.choice([f"{key}x", key.upper(), f" {key}", "", "\ufeff" + key, *TEXTS[:8]])] = parent.pop(key)
    else:
        parent.reverse()


def _swap(parent: Any, key: Any, draw: Random) -> None:
    other = draw.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    parent[key], parent[other] = parent[other], parent[key]


def _repeat(parent: Any, key: Any, draw: Random) -> None:
    value = parent[key]
    if isinstance(value, str | list):
        parent[key] = value * draw.choice((2, 3, 50))
    elif isinstance(value, int | float):
        parent[key] = value * draw.choice((-1, 1000, 1e300))


def _edit_text(parent: Any, key: Any, draw: Random) -> None:
    if isinstance(parent[key], str):
        place = draw.randint(0, len(parent[key]))
        parent[key] = parent[key][:place] + draw.choice(TEXTS) + parent[key][place:]


_CHANGES: tuple[Callable[[Any, Any, Random], None], ...] = (
    _replace, _replace, _replace_by_raw, _retype, _delete, _rename, _swap, _repeat, _edit_text,
)  # fmt: skip


def as_json(value: Any, draw: Random | None = None) -> bytes:
    """A value as JSON, on one line; with `draw` a key of it may stand twice, and texts may be escaped or not."""
    escaped = draw is None or draw.random() < 0.5
    text = json.dumps(value, ensure_ascii=escaped)
    for number, raw in enumerate(RAW):
        text = text.replace(f'"@raw {number}@"', raw)
    if draw and isinstance(value, dict) and value and draw.random() < 0.05:
        key = draw.choice(list(value))
        text = f"{{{json.dumps(key)}: {json.dumps(draw.choice(VALUES))}, {text[1:]}"
    return text.encode("utf-8", "surrogatepass")


def damaged_rows(rows: Sequence[Any], draw: Random) -> tuple[bytes, str]:
    """(JSON lines of the rows with one to three of them changed, removed, repeated or moved; what was changed)"""
    lines, said = [as_json(row) for row in rows], []
    for _ in range(draw.choice((1, 1, 2, 3))):
        place = draw.randrange(len(rows))
        kind = draw.random()
        if kind < 0.8:
            row, how = mutated(rows[place], draw)
            lines[min(place, len(lines) - 1)] = as_json(row, draw)
        elif kind < 0.9:
            how, odd = "insert a line", (b"[1]", b"5", b'"x"', b"null", b"{}", b"{", b"}", b"\x00", b"\xff", b"{}{}")
            lines.insert(place, draw.choice(odd))
        else:
            how = draw.choice(("repeat", "remove", "reverse"))
            lines = [*lines, lines[-1]] if how == "repeat" else lines[1:] or lines if how == "remove" else lines[::-1]
        said.append(f"line {place + 1}: {how}")
    return b"".join(line + b"\n" for line in lines), "; ".join(said)


def damaged_bytes(content: bytes, draw: Random) -> tuple[bytes, str]:
    """(the bytes cut, flipped, overwritten, repeated or in another encoding, what was done)"""
    kind = draw.choice(_BYTE_CHANGES)
    return kind(content, draw), kind.__name__.lstrip("_").replace("_", " ")


def _cut_off(content: bytes, draw: Random) -> bytes:
    return content[: draw.randint(0, len(content))]


def _cut_out(content: bytes, draw: Random) -> bytes:
    start = draw.randint(0, len(content))
    return content[:start] + content[start + draw.randint(1, 200) :]


def _flip(content: bytes, draw: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 5, 50))):
        if changed:
            changed[draw.randrange(len(changed))] = draw.randrange(256)
    return bytes(changed)


def _insert(content: bytes, draw: Random) -> bytes:
    place = draw.randint(0, len(content))
    text = draw.choice(TEXTS).encode("utf-8", "surrogatepass")
    return content[:place] + draw.choice((text, draw.randbytes(9), b"\0" * 9, b'"', b"\\", b"\n")) + content[place:]


def _repeat_a_part(content: bytes, draw: Random) -> bytes:
    start = draw.randint(0, len(content))
    part = content[start : start + draw.randint(1, 300)]
    return content[:start] + part * draw.randint(2, 20) + content[start:]


def _recode(content: bytes, draw: Random) -> bytes:
    text = content.decode("utf-8", "replace")
    return text.encode(draw.choice(("utf-16", "utf-16-le", "utf-32", "latin-1", "cp1252", "shift_jis")), "replace")


def _other_format(content: bytes, draw: Random) -> bytes:
    return draw.choice((draw.choice(FOREIGN_BEGINNINGS) + content, draw.choice(FOREIGN_BEGINNINGS)))


def _compress(content: bytes, draw: Random) -> bytes:
    return gzip.compress(content, mtime=0)


def _another_whole(content: bytes, draw: Random) -> bytes:
    odd = (b"", b"\n", b"null", b"{}", b"[]", b"[" * 100_000, b'{"a":' * 100_000, b"\0" * 100, b'"x"', b"5", b"NaN")
    return draw.choice(odd)


_BYTE_CHANGES = (
    _cut_off, _cut_out, _flip, _flip, _insert, _insert, _repeat_a_part, _recode, _other_format, _compress,
    _another_whole,
)  # fmt: skip
