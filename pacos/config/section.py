"""What every section of an experiment shares: frozen, no unknown keys, and the types of its values."""

import os.path
from typing import Annotated, Any, ClassVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pacos.config.yaml_text import LARGEST_INTEGER, TruthWord

# Linux's limits, of which Python 3.11's Path.is_file() makes an OSError.
LONGEST_NAME, LONGEST_PATH = 255, 4_000

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Section(BaseModel):
    """A part of an experiment: immutable, without unknown keys, with numbers that are finite, and `~` expanded."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    # Fields whose texts are read by models, and may be long.
    prose: ClassVar[frozenset[str]] = frozenset()

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """The value with `~` expanded. Raises ValueError for a truth value where none is meant (pydantic makes 1 of
        true)."""
        values = value if isinstance(value, list) else [value]
        annotation = cls.model_fields[info.field_name or ""].annotation
        if any(isinstance(one, bool) for one in values) and not _takes(annotation, bool):
            quotes = ", or a text in quotes" if _takes(annotation, str) else ""
            raise ValueError(f"another kind of value is needed here{quotes}")
        return _plain(value, where_any=get_origin(annotation) is dict)

    @field_validator("*", mode="after")
    @classmethod
    def _in_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        """The value; pydantic makes integers of texts as well. Raises ValueError for an integer that YAML is not read
        with, and for a text that no file system takes: texts are names, ids and paths, but for `prose`."""
        if type(value) is int and abs(value) >= LARGEST_INTEGER:
            raise ValueError("a whole number of at most 64 bits is needed here")
        if info.field_name in cls.prose:
            return value
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str) and (len(text) > LONGEST_PATH or _longest_name(text) > LONGEST_NAME):
                raise ValueError(f"a text of at most {LONGEST_NAME} bytes between slashes is needed here")
        return value


def _longest_name(path: str) -> int:
    """Bytes of the longest part of a path."""
    return max(len(part.encode("utf-8", "replace")) for part in path.split("/"))


def _takes(annotation: Any, kind: type) -> bool:
    """Whether a field of this type takes values of `kind` as such."""
    return annotation in (kind, Any) or any(_takes(part, kind) for part in get_args(annotation))


def _plain(value: Any, where_any: bool) -> Any:
    """The value with the home folder in place of `~` at the beginning of a text, and `where_any` value may stand, with
    truth values for yes and no."""
    if isinstance(value, TruthWord):
        return value.truth if where_any else str(value)
    if isinstance(value, str) and value.startswith("~"):
        return os.path.expanduser(value)
    if isinstance(value, list):
        return [_plain(one, where_any) for one in value]
    if isinstance(value, dict) and where_any:
        return {key: _plain(one, where_any) for key, one in value.items()}
    return value
