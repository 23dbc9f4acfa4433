"""Commands that start an experiment: the shipped configs, and one of one's own made from them."""

import textwrap
from pathlib import Path
from typing import Annotated

import typer

from pacos.terminal import say

app = typer.Typer()
PANEL = "Project"


@app.command(rich_help_panel=PANEL)
def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the run; NAME.yaml is written to this folder.")],
    source: Annotated[
        str | None,
        typer.Option("--from", help="A config that `pacos configs` lists. [default: qwen2.5-7b-lora, or quickstart]"),
    ] = None,
    seeds: Annotated[bool, typer.Option("--seeds", help="Write the seed tasks too, to be edited.")] = False,
) -> None:
    """A shipped config → an experiment of your own, with comments; quickstart where there is no GPU."""
    from pacos.shipped import missing_inputs, shipped_config, write_experiment

    folder = Path()
    written = write_experiment(name, shipped_config(source or default_config()), folder, with_seeds=seeds)
    say(f"wrote {', '.join(str(path) for path in written)}")
    config = written[0]
    for path, command in missing_inputs(config, folder).items():
        say(f"first: {command}   # {path}")
    run = "loop" if "\nloop:" in config.read_text(encoding="utf-8") else "run"
    say(f"plan:  pacos {run} --config {config} --dry-run")
    say(f"start: pacos {run} --config {config}")


@app.command(rich_help_panel=PANEL)
def configs() -> None:
    """The configs that pacos comes with, for `pacos init --from`."""
    from pacos.shipped import shipped_configs

    found = shipped_configs()
    width = max(len(config.name) for config in found)
    for config in found:
        say(f"{config.name:<{width}}  {textwrap.shorten(config.purpose, 88, placeholder=' …')}")


def default_config() -> str:
    """The shipped config to start from on this machine."""
    from pacos.serving.flags import gpu_memories

    return "qwen2.5-7b-lora" if gpu_memories() else "quickstart"
