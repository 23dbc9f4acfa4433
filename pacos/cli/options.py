"""What the commands of `pacos` share: options, and how a plan is printed."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[Path, typer.Option("--config", help="The experiment's YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key=value]…", help="As in train.lora.r=8")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the inputs and print the plan; start nothing.")]
OutDir = Annotated[Path, typer.Option("--out", help="Folder for the results.")]


def print_plan(stage: str, lines: list[str]) -> None:
    typer.echo(f"{stage}:")
    for line in lines:
        typer.echo(f"  {line}")
