"""Every error that a user can cause or fix.

    PacosError
    ├── ConfigError    an experiment's YAML or a key=value override
    ├── DataError      seeds, datasets, SuperNI folders, predictions: names the file and line
    │   └── OtherForm       rows of another project's form, which would be read wrongly: says how to convert them
    ├── ModelError     a model, tokenizer or adapter that is missing, gated or does not fit
    │   └── HubOutOfReach   not in the local cache, and no network to look it up
    ├── EngineError    the model server: does not start, refuses, or died too often
    ├── RunError       the run directory: another run's, locked, out of step with the config, disk full
    └── TrainingError  a training run that must stop: non-finite loss, wrong process count, bad adapter

The command line prints these without a traceback and exits with 2; any other exception is a bug in pacos.
"""

import re

from pacos.terminal import escaped, escaped_line

# Characters that are shown: what is wrong may repeat a text of any length.
LONGEST = 2_000


class PacosError(Exception):
    """What is wrong, where (file and line, or config key), and what to do about it."""

    def __init__(self, what: str, *, where: str | None = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.todo = todo

    def __str__(self) -> str:
        # Names and rows of strangers stand in these; a line of theirs must not look like ours.
        place = f"{escaped_line(self.where)}: " if self.where else ""
        what = re.sub(r"\n(?!    )", "\n    ", escaped(self.what))
        if len(what) > LONGEST:
            what = f"{what[: LONGEST // 2]} … {what[-LONGEST // 2 :]}"
        advice = f"\n  → {escaped(self.todo)}" if self.todo else ""
        return f"{place}{what}{advice}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling between processes.
        return (_rebuild, (type(self), self.what, self.where, self.todo))


def _rebuild(kind: type[PacosError], what: str, where: str | None, todo: str | None) -> PacosError:
    return kind(what, where=where, todo=todo)


class ConfigError(PacosError, ValueError):
    """An experiment's YAML or an override that is wrong."""


class DataError(PacosError, ValueError):
    """A file of data that is missing, broken, or of another kind."""


class OtherForm(DataError):
    """Rows of another project's form, of which a part would be lost: `todo` says how to convert them."""


class ModelError(PacosError, ValueError):
    """A model, tokenizer or adapter that is missing, gated, or does not fit."""


class HubOutOfReach(ModelError):
    """Not in the local cache, and the hub cannot be reached."""


class EngineError(PacosError, RuntimeError):
    """A model server that does not start, refuses, or died too often."""


class RunError(PacosError, RuntimeError):
    """A run directory that is another run's, in use, or cannot be written."""


class TrainingError(PacosError, RuntimeError):
    """A training run that must stop."""
