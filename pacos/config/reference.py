"""Every key of an experiment with type, default and meaning: `pacos config`, and docs/configuration.md."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pacos.config.experiment import Config


@dataclass(frozen=True, slots=True)
class Key:
    """A dotted key; of a list of sections, `[]` stands for the place in the list."""

    name: str
    type: str
    default: str
    meaning: str


def keys(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[Key]:
    """All keys below `section`, in its order. `loop.sft` has the keys of `train`, which are not repeated."""
    for name, field in section.model_fields.items():
        dotted = f"{prefix}{name}"
        inner, suffix = section_of(field.annotation)
        if inner is None or dotted == "loop.sft":
            default = _default(field) if inner is None else "those of `train`"
            yield Key(dotted, _type(field.annotation, field.metadata), default, field.description or "")
            continue
        if field.description:
            yield Key(dotted, _type(field.annotation, field.metadata), _default(field), field.description)
        yield from keys(inner, f"{dotted}{suffix}.")


def reference() -> str:
    """docs/configuration.md."""
    lines = [
        "# Configuration",
        "",
        "One YAML file is one experiment. Its values override the defaults, and `key=value` on the command line",
        "overrides both, where a key is its dotted name: `pacos run --config FILE train.lora.r=8`. An unknown key is",
        "an error that names the nearest known one. `pacos config` prints this list, `pacos config train.lora` a part.",
    ]
    section = ""
    for key in keys():
        first = key.name.partition(".")[0] if "." in key.name else "the experiment"
        if first != section:
            section = first
            lines += ["", f"## {section}", "", "| key | type | default | meaning |", "|---|---|---|---|"]
        cells = [f"`{key.name}`", key.type.replace("|", "\\|"), key.default, key.meaning.replace("|", "\\|")]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def section_of(annotation: Any) -> tuple[type[BaseModel] | None, str]:
    """(the section that a value of this type is, or holds; the suffix of its key)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, ""
    arguments = get_args(annotation)
    if get_origin(annotation) is list:
        inner, _ = section_of(arguments[0])
        return inner, "[]"
    if get_origin(annotation) in (Union, UnionType):
        return next((found for one in arguments if (found := section_of(one))[0]), (None, ""))
    return None, ""


def _type(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type(arguments[0], arguments[1:])
    if origin is Literal:
        return " | ".join(str(one) for one in arguments)
    if origin in (Union, UnionType):
        return " | ".join(_type(one) for one in arguments if one is not NoneType)
    if origin is list:
        return f"list of {_type(arguments[0])}"
    if origin is dict:
        return "mapping"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    plain = {bool: "true | false", int: "integer", float: "number", str: "text"}.get(annotation, str(annotation))
    return f"{plain}{_bounds(metadata)}"


def _bounds(metadata: Sequence[Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    found: list[str] = []
    for one in metadata:
        for constraint in (*getattr(one, "metadata", ()), one):
            found += [
                f"{sign} {limit:g}"
                for name, sign in signs.items()
                if (limit := getattr(constraint, name, None)) is not None
            ]
    return f" {', '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "empty"
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return ""
    if field.default is None:
        return "unset"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"
