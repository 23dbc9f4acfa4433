"""Commands that train one experiment in several ways and choose among them."""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli.options import DryRun, OutDir, print_plan
from pacos.terminal import say

app = typer.Typer()
PANEL = "Sweeps"


@app.command(rich_help_panel=PANEL)
def sweep(
    config: Annotated[Path, typer.Argument(help="The experiment's YAML file.")],
    words: Annotated[list[str], typer.Argument(metavar="key=value,value…", help="train.learning_rate=1e-4,2e-4")],
    trials: Annotated[int | None, typer.Option(min=1, help="Draw so many of the combinations by the seed.")] = None,
    halving: Annotated[bool, typer.Option("--halving", help="Train all briefly, the better half longer, …")] = False,
    devices: Annotated[str, typer.Option(help="What trains a trial each at a time: 0,1,2; cpu,cpu.")] = "",
    prepare: Annotated[
        bool, typer.Option("--prepare", help="Write the trials' files and print their commands.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Train every combination of the values, evaluate all on one engine, and name a winner if there is one."""
    from pacos.report import render as reporting
    from pacos.sweeps import pipeline
    from pacos.sweeps.trials import read_grid

    grid = read_grid(config, words, most=trials)
    if dry_run:
        print_plan("sweep", pipeline.plan(grid, halving=halving))
    elif prepare:
        say("\n".join(pipeline.prepare(grid)))
    else:
        pipeline.main(grid, devices=devices.split(","), halving=halving)
        say(f"report: {reporting.render(grid.config.run_dir)}")


@app.command(rich_help_panel=PANEL)
def select(
    folders: Annotated[list[Path], typer.Argument(metavar="EVAL_DIR…", help="Evaluations; the first is the default.")],
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Of which tasks choose and which test.")] = 42,
) -> None:
    """Choose the best of several models on half of the tasks, and test it on the other half."""
    from pacos.evaluate import selection

    say(selection.selection_table(selection.select(folders, out, seed=seed)))
