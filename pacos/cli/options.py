"""What the commands of `pacos` share: options, and how a stage is planned or run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from pacos.terminal import say

if TYPE_CHECKING:
    from pacos.config import Config
    from pacos.runs import Run

ConfigFile = Annotated[Path, typer.Option("--config", help="The experiment's YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key=value]…", help="As in train.lora.r=8")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the inputs and print the plan; start nothing.")]
OutDir = Annotated[Path, typer.Option("--out", help="Folder for the results.")]


class StageModule(Protocol):
    """A module that can say what it would do, and do it in an open run."""

    def plan(self, config: "Config", /) -> list[str]:
        """What would be done, a line each; checks the inputs and starts nothing."""

    def main(self, config: "Config", run: "Run", /) -> Any:
        """Do it, in the run directory."""


def load_experiment(config: Path, overrides: list[str] | None) -> "Config":
    """The experiment of a file, with `key=value` overrides. Raises ConfigError as `load_config`."""
    from pacos.config import load_config

    return load_config(config, overrides or [])


def run_stage(name: str, stage: StageModule, experiment: "Config", *, dry_run: bool = False) -> None:
    """Print the stage's plan, or run it in the experiment's directory."""
    from pacos.runs import Run

    if dry_run:
        print_plan(name, stage.plan(experiment))
        return
    with Run.open(experiment) as run:
        stage.main(experiment, run)


def print_plan(stage: str, lines: list[str]) -> None:
    """Print a stage's name and, indented, what it would do."""
    say(f"{stage}:")
    for line in lines:
        say(f"  {line}")
