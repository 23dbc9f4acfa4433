"""Reads an experiment: typed defaults < the YAML < `key=value` overrides.

    config = load_config(Path("configs/quickstart.yaml"), ["train.lora.r=8"])

An unknown key is an error that names the nearest known one.
"""

import os
import reprlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pacos.config.complaints import complaints
from pacos.config.experiment import Config
from pacos.config.section import Section
from pacos.config.yaml_text import parse_yaml
from pacos.errors import ConfigError
from pacos.json_text import read_text

LARGEST = 1_000_000


def load_config(path: Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read, override and check an experiment; without a file the overrides say it all.

    Raises ConfigError: no such file, not YAML or not UTF-8, a key twice, an override without `=`, an unknown key, a
    value out of range.
    """
    values = {"name": path.stem} | _read_yaml(path) if path else {}
    for override in overrides:
        _apply_override(values, override)
    return parse_config(values, where=str(path or "command line"))


def parse_config(values: Mapping[str, Any], *, where: str) -> Config:
    """An experiment from its values. Raises ConfigError, with `where` they came from, for what is not valid."""
    try:
        return Config.model_validate(values)
    except ValidationError as invalid:
        raise ConfigError(
            complaints(invalid.errors(include_url=False)),
            where=where,
            todo="correct the key, or see `pacos config` for all of them with their defaults",
        ) from None


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """The experiment with other values by dotted key, set in order, as in {"train.lora.r": 8}.

    Raises KeyError for an unknown section, ConfigError for an unknown key or a value that is not valid.
    """
    changed = config.model_dump()
    for dotted, value in values.items():
        *parents, key = dotted.split(".")
        section = changed
        for parent in parents:
            section = section[parent]
        section[key] = value.model_dump() if isinstance(value, Section) else value
    return parse_config(changed, where=", ".join(values))


def _read_yaml(path: Path) -> dict[str, Any]:
    if not os.path.lexists(path):
        shipped = ", ".join(sorted(str(p) for p in Path("configs").glob("*.yaml")))
        raise ConfigError("no such config", where=str(path), todo=f"shipped here: {shipped or 'none'}")
    text = read_text(path, ConfigError)
    if len(text) > LARGEST:
        raise ConfigError(f"has {len(text):,} characters; an experiment has {LARGEST:,} at most", where=str(path))
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise ConfigError("a config is a mapping of sections", where=str(path), todo="start with `name:` and `model:`")
    return values


def _apply_override(values: dict[str, Any], override: str) -> None:
    dotted, equals, text = override.partition("=")
    if not equals or not dotted:
        raise ConfigError(f"{override!r} is not key=value", where="command line", todo="write it as train.lora.r=8")
    *parents, key = dotted.split(".")
    section = values
    for parent in parents:
        child = section.get(parent)
        section[parent] = child = dict(child) if isinstance(child, dict) else {}
        section = child
    section[key] = parse_yaml(text, f"command line: {reprlib.repr(override)}")
