"""Every command with its arguments and options, as docs/commands.md has them: `scripts/docs write`."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from pacos.cli.commands import app

INTRODUCTION = """# Commands

`pacos COMMAND --help` prints the same in the terminal. An error that you can fix is one message and exit code 2;
[Exit codes](exit-codes.md) lists the others. A command that was stopped resumes when you give it again."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """An argument or option; `default` is "" where nothing happens without it."""

    name: str
    value: str
    default: str
    meaning: str
    is_option: bool


def reference() -> str:
    """Return docs/commands.md."""
    panels: dict[str, list[str]] = {}
    for name, command in commands().items():
        panels.setdefault(str(command.rich_help_panel), []).append(_section(name, command))
    parts = [INTRODUCTION]
    for panel, sections in panels.items():
        parts += [f"## {panel}", *sections]
    return "\n\n".join(parts) + "\n"


def commands() -> dict[str, CommandInfo]:
    """Return the commands by name, in the order of `pacos --help`; hidden ones are left out."""
    apps = [app, *(group.typer_instance for group in app.registered_groups if group.typer_instance)]
    found = [command for each in apps for command in each.registered_commands if not command.hidden]
    return {command.name or _function(command).__name__.replace("_", "-"): command for command in found}


def parameters(command: CommandInfo) -> Iterator[Parameter]:
    """Yield a command's arguments and options, in their order."""
    function = _function(command)
    hints = get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        kind, info = get_args(hints[name])[:2]
        default = "required" if parameter.default is parameter.empty else _shown(parameter.default)
        if isinstance(info, ArgumentInfo):
            shown = (info.metavar or name.upper()).replace("|", " or ")
            shown += "…" if get_origin(kind) is list and "…" not in shown else ""
            shown = shown if default == "required" or shown.startswith("[") else f"[{shown}]"
            yield Parameter(shown, "", default, info.help or "", is_option=False)
            continue
        assert isinstance(info, OptionInfo)
        option = name.replace("_", "-")
        # In an annotation, typer's `default` is the first of the names.
        names = [one for one in (info.default, *(info.param_decls or ())) if isinstance(one, str)]
        names = names or [f"--{option}", *([f"--no-{option}"] if kind is bool else [])]
        value = "" if kind is bool else info.metavar or _type(kind)
        yield Parameter(", ".join(names), value, default, info.help or "", is_option=True)


def _section(name: str, command: CommandInfo) -> str:
    lines = [f"### pacos {name}", "", _text(command.help or inspect.getdoc(_function(command)) or "")]
    if rows := list(parameters(command)):
        lines += ["", "```text", _usage(name, rows), "```", ""]
        lines += ["| option | default | meaning |", "|---|---|---|"]
    for one in rows:
        cells = (f"`{f'{one.name} {one.value}'.strip()}`", one.default, _text(one.meaning))
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _usage(name: str, rows: list[Parameter]) -> str:
    arguments = [one.name for one in rows if not one.is_option]
    required = [f"{one.name} {one.value}" for one in rows if one.is_option and one.default == "required"]
    options = ["[OPTIONS]"] if len(arguments) + len(required) < len(rows) else []
    return " ".join(["pacos", name, *required, *options, *arguments])


def _function(command: CommandInfo) -> Callable[..., Any]:
    assert command.callback is not None
    return command.callback


def _type(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated or origin is list:
        return _type(inner[0])
    if origin is Literal:
        return f"{{{','.join(map(str, inner))}}}"
    if origin in (Union, UnionType):
        return " or ".join(_type(one) for one in inner if one is not NoneType)
    return {Path: "PATH", int: "INTEGER", float: "NUMBER", str: "TEXT"}.get(kind, str(kind))


def _shown(default: Any) -> str:
    if default in (None, False, ""):
        return ""
    return "on" if default is True else f"`{default}`"


def _text(text: str) -> str:
    """A help text on one line, its angle brackets shown as they are."""
    return " ".join(text.split()).replace("<", "&lt;")
