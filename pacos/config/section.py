"""What every section of an experiment shares: frozen, no unknown keys, and the types of its values."""

import os.path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from pacos.config.yaml_text import TruthWord

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]


class Section(BaseModel):
    """A part of an experiment: immutable, without unknown keys, with numbers that are finite, and `~` expanded."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _as_meant(cls, value: Any, info: ValidationInfo) -> Any:
        """The value with `~` expanded. Raises ValueError for a truth value where none is meant (pydantic makes 1 of
        true)."""
        values = value if isinstance(value, list) else [value]
        annotation = cls.model_fields[info.field_name or ""].annotation
        if any(isinstance(one, bool) for one in values) and not _takes(annotation, bool):
            raise ValueError("a truth value does not fit here")
        return _plain(value, where_any=get_origin(annotation) is dict)


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
