"""x"""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli_options import ConfigFile, DryRun, Overrides, print_plan

app = typer.Typer()


@app.command()
def answer(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Several sampled answers of one model to each task of a dataset, for a judge to score."""
    from pacos.config_file import load_config
    from pacos.evaluate.reward import answering
    from pacos.runs import Run

    experiment = load_config(config, overrides or [])
    if dry_run:
        print_plan("answer", answering.plan(experiment))
        return
    with Run.open(experiment) as directory:
        answering.main(experiment, directory)


@app.command()
def pairs(
    config: ConfigFile,
    overrides: Overrides = None,
    judged: Annotated[
        Path | None, typer.Option(help="Folder of the judgements; the run's judge/additive--answers unless given.")
    ] = None,
) -> None:
    """Answers and their scores → preference pairs: of each task the best against the worst."""
    from pacos.config_file import load_config
    from pacos.evaluate.reward import pairing
    from pacos.runs import Run

    experiment = load_config(config, overrides or [])
    with Run.open(experiment) as directory:
        pairing.main(experiment, directory, judged)


@app.command()
def loop(
    config: ConfigFile,
    overrides: Overrides = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many; loop.rounds unless given.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Self-Rewarding: the model answers, scores its answers and learns from them, round after round."""
    from pacos import report as reporting
    from pacos.config_file import load_config
    from pacos.evaluate.reward import loop as looping

    experiment = load_config(config, [*(overrides or []), *([f"loop.rounds={rounds}"] if rounds else [])])
    if dry_run:
        print_plan("loop", looping.plan(experiment))
        return
    try:
        looping.main(experiment)
    finally:
        if (experiment.run_dir / "rounds.json").is_file():
            typer.echo(f"report: {reporting.render(experiment.run_dir)}")
