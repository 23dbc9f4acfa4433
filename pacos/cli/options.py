"""What the commands of `pacos` share: options, and how a stage is planned or run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from pacos.errors import ConfigError
from pacos.terminal import say

if TYPE_CHECKING:
    from pacos.config import Config
    from pacos.runs import Run

ConfigFile = Annotated[Path, typer.Option("--config", help="The experiment's YAML file.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[key=value]…", help="As in train.lora.r=8")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check the inputs and print the plan; start nothing.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document, and nothing else.")]
PlanAsJson = Annotated[bool, typer.Option("--json", help="With --dry-run: print the plan as one JSON document.")]
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


def run_stage(
    name: str, stage: StageModule, experiment: "Config", *, dry_run: bool = False, as_json: bool = False
) -> None:
    """Print the stage's plan, or run it in the experiment's directory. Raises ConfigError as `check_is_plan`."""
    from pacos.runs import Run

    check_is_plan(as_json, dry_run=dry_run)
    if dry_run:
        print_plans(experiment, {name: stage.plan(experiment)}, as_json=as_json)
        return
    with Run.open(experiment) as run:
        stage.main(experiment, run)


def check_is_plan(as_json: bool, *, dry_run: bool) -> None:
    """Raises ConfigError for --json without --dry-run: results are files, and a stage's lines are for people."""
    if as_json and not dry_run:
        raise ConfigError("is for plans", where="--json", todo="add --dry-run; results are JSON files in the run")


def print_plans(experiment: "Config", plans: Mapping[str, list[str]], *, as_json: bool) -> None:
    """Print what each stage would do: as text, or with the resolved configuration as JSON."""
    if as_json:
        config = experiment.model_dump(mode="json")
        print_json({"run_dir": str(experiment.run_dir), "plan": dict(plans), "config": config})
        return
    for stage, lines in plans.items():
        print_plan(stage, lines)


def report_run(experiment: "Config") -> None:
    """Render the run's report, say where it is, and send it to the tracker that followed the training."""
    from pacos.report import render as reporting
    from pacos.tracking import track_report

    page = reporting.render(experiment.run_dir)
    say(f"report: {page}")
    track_report(experiment, page)


def print_plan(stage: str, lines: list[str]) -> None:
    """Print a stage's name and, indented, what it would do."""
    say(f"{stage}:")
    for line in lines:
        say(f"  {line}")


def print_json(value: Any) -> None:
    """Print a JSON document of printable ASCII characters alone: no text in it can steer a terminal."""
    print(json.dumps(value, indent=2).replace("\x7f", "\\u007f"), flush=True)
