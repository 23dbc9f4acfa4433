"""The family `config`: every key of an experiment with odd values, and what is written read back.

`pacos config`'s own list says what type a key has. A value must have it, or be refused by an error that names the key.
"""

import math
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import yaml

from benchmarks.fuzz.mutations import RAW, TEXTS, VALUES
from benchmarks.fuzz.outcomes import Failure, Outcome, Tried, attempt, run_cases
from pacos.config import Config, load_config, resolved_yaml
from pacos.config.reference import Key, keys

# Values as a user writes them, without quotes.
PLAIN = (
    "yes", "no", "on", "off", "Yes", "true", "false", "null", "~", "", "0", "1", "-1", "007", "0123", "0o17", "0x1F",
    "0b11", "1_000", "+5", "5.0", "1.5", "1e3", "1e-4", "1.0e-4", "2e+400", ".5", "5.", ".inf", "-.inf", ".nan", "nan",
    "inf", "1:30", "1:30:00", "2024-02-30", "2024-02-29", "12:30:45", "2001-12-14t21:59:43.10-05:00", "1,000", "10 %",
    "64k", "=", "<<", "*a", "&a x", "&a [*a]", "!!int '5'", "!!python/name:os.system", "!!binary aGk=", "!!float 5",
    "!!str 5", "!!set {a}", "!x y", "[", "]", "{", "}", "[]", "{}", "[[[]]]", "[1, 2]", "[null]", "{a: 1}", "{1: a}",
    "{null: 1}", "{[1]: 2}", "{a: 1, a: 2}", "- a", "a: b", "a: b: c", "# x", "x # y", "|", ">", "'", '"', "''", '""',
    "'5'", '"yes"', "%x", "@x", "`x`", "?", "-", "--- x", "...", "a\tb", "\tx", "../x", "/etc/passwd", "~/x", "~root/x",
    "a/../b", "auto", "none", "alpaca", "https://example.org/v1", "file:///etc/passwd", "é", "日本語", "🦙", "\u202ex",
    "a\u2028b", "a\x85b", "\x07", "9" * 400, "9" * 5_000, "1" + "0" * 18, "-9223372036854775808", "9223372036854775808",
    "[" * 50 + "]" * 50, "[" * 5_000, "x" * 100_000,
)  # fmt: skip

# What a plain value means where a whole number is wanted; a value that is not here may be refused or read.
WHOLE = {
    "007": 7, "0123": 123, "0x1F": 31, "0b11": 3, "1_000": 1000, "+5": 5, "5.0": 5, "yes": None, "on": None,
    "true": None, "1:30": None, "2024-02-29": None, ".inf": None, ".nan": None, "1.5": None, "[]": None, "{}": None,
    "x # y": None,
}  # fmt: skip

MINIMAL = {"name": "fuzz", "model": {"base": "m"}}
# What an element of a list of sections needs besides the key in question.
ELEMENTS: dict[str, dict[str, Any]] = {
    "evaluate.models": {"name": "m"},
    "evaluate.suites": {"name": "s", "path": "p"},
    "train.data": {"path": "p"},
    "loop.instructions": {"path": "p"},
    "loop.judging": {"path": "p"},
}


def fuzz_config(cases: int, seed: int, names: list[str] | None = None) -> tuple[dict[str, int], list[Failure]]:
    """Run `cases` cases over all keys in turn, or those whose names begin with one of `names`."""
    found = [key for key in keys() if key.type != "section" and (not names or key.name.startswith(tuple(names)))]
    with tempfile.TemporaryDirectory(prefix="pacos-fuzz-") as folder:
        path = Path(folder) / "fuzz.yaml"
        return run_cases("config", cases, seed, [(key.name, partial(_tried, path, key)) for key in found])


def _tried(path: Path, key: Key, draw: Random) -> Tried:
    content, how, meant = _case(key, draw)
    path.write_bytes(content)
    outcome = attempt(lambda: _loaded(path))
    return Tried(outcome, _wrong(key, outcome, meant, path), content, how)


class _Unknown:
    """Any value of the key's type, or an error."""


class _Refused:
    """An error."""


def _case(key: Key, draw: Random) -> tuple[bytes, str, Any]:
    """(the experiment as YAML, the value in it, what it must be read as)"""
    if draw.random() < 0.5:
        plain = draw.choice(PLAIN)
        content = _written(key, "@value@").replace("'@value@'", plain).replace("@value@", plain)
        return content.encode("utf-8", "surrogatepass"), plain[:60], _meaning(key, plain)
    value = draw.choice((draw.choice(VALUES), draw.choice(TEXTS), draw.choice(PLAIN)))
    if draw.random() < 0.1:
        raw = draw.choice(RAW)
        return _written(key, "@value@").replace("@value@", raw).encode(), raw[:60], _Unknown
    if not isinstance(value, str):
        return _written(key, value).encode("utf-8", "surrogatepass"), repr(value)[:60], _Unknown
    content = _written(key, "@value@").replace("'@value@'", "@value@").replace("@value@", _quoted(value))
    # Quotes say that it is a text: it must come back as it is, or be refused.
    meant = value if key.type == "text" and not value.startswith("~") else _Unknown
    return content.encode(), repr(value)[:60], meant


def _quoted(text: str) -> str:
    """A text in double quotes, with everything beyond ASCII as YAML's escapes."""
    escapes = {'"': r"\"", "\\": r"\\"}
    written = [escapes.get(one, one) if " " <= one <= "~" else rf"\U{ord(one):08X}" for one in text]
    return '"' + "".join(written) + '"'


def _written(key: Key, value: Any) -> str:
    """A minimal experiment with the key set, as YAML whose texts are in quotes where they need them."""
    values: dict[str, Any] = {name: dict(part) if isinstance(part, dict) else part for name, part in MINIMAL.items()}
    section: Any = values
    *parents, last = key.name.split(".")
    for position, parent in enumerate(parents):
        name, is_list = parent.removesuffix("[]"), parent.endswith("[]")
        child = section.setdefault(name, {})
        if is_list:
            child = dict(ELEMENTS[".".join(parents[: position + 1]).removesuffix("[]").replace("[]", "")])
            section[name] = [child]
        section = child
    if isinstance(section.get("path"), str) and last == "hub":
        del section["path"]
    section[last] = value
    return yaml.safe_dump(values, allow_unicode=True, sort_keys=False)


def _meaning(key: Key, plain: str) -> Any:
    if re.match(r"integer", key.type) and plain in WHOLE:
        return _Refused if WHOLE[plain] is None else (WHOLE[plain], _Refused)
    return _Unknown


def _loaded(path: Path) -> Config:
    """The experiment, which must be the same once it was written and read again."""
    config = load_config(path)
    again = path.with_name("again.yaml")
    again.write_text(resolved_yaml(config), encoding="utf-8")
    if load_config(again) != config:
        raise AssertionError("what is written reads as another experiment")
    return config


def _wrong(key: Key, outcome: Outcome, meant: Any, path: Path) -> str:
    if outcome.kind == "failed":
        return outcome.detail
    if outcome.kind == "refused":
        return "" if _names(key, outcome.detail, path) else f"the error names no key and no line: {outcome.detail}"
    if meant is _Refused:
        return f"reads what is no value of its type: {[*_found(key, outcome.value)]}"
    for value in _found(key, outcome.value):
        if value is None:
            continue
        if not _fits(value, key.type):
            return f"reads {value!r}, which is no {key.type}"
        wanted = meant[0] if isinstance(meant, tuple) else meant
        if wanted is not _Unknown and value != wanted:
            return f"reads {value!r}, not {wanted!r}"
    return ""


def _names(key: Key, message: str, path: Path) -> bool:
    """The key, or a section above it, or for what is no YAML the file and its line."""
    parts = [re.escape(part) for part in key.name.replace("[]", "").split(".")]
    ends = ["".join(rf"(?:\.\d+)?\.{part}" for part in parts[1:count]) for count in range(1, len(parts) + 1)]
    names_key = any(re.search(rf"`{parts[0]}{end}(?:\.\d+)?[`.]", message) for end in ends)
    return (
        names_key or bool(re.search(rf"{re.escape(str(path))}:\d+", message)) or "characters; an experiment" in message
    )


def _found(key: Key, config: Any) -> Iterator[Any]:
    """The values of a key in an experiment."""
    level = [config]
    for part in key.name.split("."):
        level = [getattr(one, part.removesuffix("[]"), None) for one in level]
        if part.endswith("[]"):
            level = [element for one in level for element in one or []]
    yield from level


def _fits(value: Any, declared: str) -> bool:
    """Whether a value is of one of the types that the reference names."""
    return any(_fits_one(value, one.strip()) for one in declared.split("|")) or value in _choices(declared)


def _choices(declared: str) -> set[Any]:
    return {one.strip() for one in declared.split("|")}


def _fits_one(value: Any, declared: str) -> bool:
    name = re.split(r" [≥>≤<]", declared)[0]
    if name.startswith("list of"):
        return isinstance(value, list)
    if name == "integer":
        return type(value) is int
    if name == "number":
        return type(value) in (int, float) and math.isfinite(value)
    if name in ("true", "false"):
        return isinstance(value, bool)
    if name in ("mapping", "section"):
        return isinstance(value, dict) or hasattr(value, "model_fields")
    return isinstance(value, str) if name == "text" else str(value) == name
