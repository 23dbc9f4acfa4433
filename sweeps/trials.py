"""The trials of a sweep: every combination of the values given for some keys, and the experiment as it is.

train.learning_rate=1e-4,2e-4 train.lora.r=16,64    four combinations, and the default
"""

import itertools
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.config import Config, DataSource, load_config, with_values
from pacos.errors import ConfigError

DEFAULT = "default"

# Run directories' names have at most 100 characters, and halving adds some.
LONGEST_NAME = 80

_OPENING, _CLOSING = "[{", "]}"


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of the sweep: `values` are its overrides, `config` its experiment in a run directory of its own."""

    name: str
    values: tuple[str, ...]
    config: Config


@dataclass(frozen=True, slots=True)
class Grid:
    """The experiment without the keys that vary, and the trials, of which the first is that experiment."""

    config: Config
    trials: list[Trial]


def read_grid(path: Path, words: Sequence[str], *, most: int | None = None) -> Grid:
    """The trials of an experiment's file and `key=value,value,…` words; words of one value hold for all trials.

    `most` combinations are drawn by the experiment's seed where there are more. Raises ConfigError: no key with several
    values, a key outside `train`, and as `load_config`.
    """
    split = [(key, values_of(text)) for key, _, text in (word.partition("=") for word in words)]
    fixed = [f"{key}={values[0]}" for key, values in split if len(values) == 1]
    axes = [(key, values) for key, values in split if len(values) > 1]
    if not axes:
        raise ConfigError("no key has several values", todo="give some: train.learning_rate=1e-4,2e-4")
    for key, _ in axes:
        if not key.startswith("train."):
            raise ConfigError("a sweep varies training alone", where=key, todo="vary keys of `train`")
    config = load_config(path, fixed)
    trials, seen = [Trial(DEFAULT, (), trial_config(config, config, DEFAULT))], [config]
    for values in itertools.product(*(values for _, values in axes)):
        overrides = tuple(f"{key}={value}" for (key, _), value in zip(axes, values, strict=True))
        varied = load_config(path, [*fixed, *overrides])
        if varied not in seen:
            seen.append(varied)
            name = trial_name(overrides)
            trials.append(Trial(name, overrides, trial_config(config, varied, name)))
    return Grid(config, _drawn(trials, most, config.seed))


def values_of(text: str) -> list[str]:
    """The values of a comma-separated list; commas within brackets and quotes separate nothing."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in _OPENING:
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and not depth:
            parts.append("")
            continue
        parts[-1] += character
    return [part.strip() for part in parts]


def trial_name(overrides: Sequence[str]) -> str:
    """A name for a run directory and a model: `learning_rate-1e-4_r-16`."""
    pairs = (override.split("=", 1) for override in overrides)
    named = "_".join(f"{key.rpartition('.')[2]}-{value}" for key, value in pairs)
    return re.sub(r"[^A-Za-z0-9._-]+", "-", named)[:LONGEST_NAME].rstrip("-")


def trial_config(sweep: Config, varied: Config, name: str) -> Config:
    """The experiment of one trial, whose run directory is below the sweep's; it trains on the sweep's own dataset
    unless `train.data` names another."""
    data = varied.train.data or [DataSource(path=str(sweep.run_dir / "dataset"))]
    trials = sweep.run_dir / "trials"
    tokenized = varied.train.tokenized or str(trials / "tokenized")
    place = {"name": name, "runs_dir": str(trials), "train.data": data, "train.tokenized": tokenized}
    return with_values(varied, place)


def _drawn(trials: list[Trial], most: int | None, seed: int) -> list[Trial]:
    """The default and at most `most` others, in the order of the grid."""
    default, *others = trials
    names = [trial.name for trial in others]
    if twice := [name for name in names if names.count(name) > 1]:
        todo = "write their values so that they differ in letters, digits, dots or hyphens"
        raise ConfigError(f"two trials would have the name {twice[0]!r}", todo=todo)
    if most is None or len(others) <= most:
        return trials
    kept = set(random.Random(seed).sample(names, most))
    return [default, *(trial for trial in others if trial.name in kept)]
