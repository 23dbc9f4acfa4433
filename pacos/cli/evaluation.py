"""Commands that score models and compare them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pacos.cli.options import (
    AsJson,
    ConfigFile,
    DryRun,
    OutDir,
    Overrides,
    PlanAsJson,
    load_experiment,
    print_json,
    report_run,
    run_stage,
)
from pacos.errors import RunError
from pacos.terminal import say

app = typer.Typer()
PANEL = "Evaluation"


@app.command(rich_help_panel=PANEL)
def evaluate(
    config: ConfigFile,
    overrides: Overrides = None,
    adapter: Annotated[list[str] | None, typer.Option(help="NAME=PATH of one more adapter; may be repeated.")] = None,
    checkpoints: Annotated[list[Path] | None, typer.Option(help="A run whose checkpoints all take part.")] = None,
    dry_run: DryRun = False,
    as_json: PlanAsJson = False,
) -> None:
    """Base and adapters on one engine → SuperNI predictions, scores, comparison, report."""
    from pacos.config import ModelEntry
    from pacos.evaluate import pipeline
    from pacos.evaluate.models import checkpoint_adapters

    experiment = load_experiment(config, overrides)
    more = [ModelEntry(name=name, adapter=path) for name, path in map(_named_path, adapter or [])]
    more += [entry for run_dir in checkpoints or [] for entry in checkpoint_adapters(run_dir)]
    # A run's own config.yaml names them already where the same command was given before.
    more = [entry for entry in more if entry not in experiment.evaluate.models]
    section = experiment.evaluate.model_copy(update={"models": [*experiment.evaluate.models, *more]})
    experiment = experiment.model_copy(update={"evaluate": section})
    run_stage("evaluate", pipeline, experiment, dry_run=dry_run, as_json=as_json)
    if not dry_run:
        report_run(experiment)


@app.command(rich_help_panel=PANEL)
def score(
    predictions: Annotated[Path, typer.Argument(help="Ours, Tk-Instruct's, or the leaderboard's.")],
    json: Annotated[Path | None, typer.Option("--json", help="Write the scores here too.")] = None,
    references: Annotated[Path | None, typer.Option(help="For the leaderboard's form: its reference file.")] = None,
    track: Annotated[
        Literal["default", "xlingual"] | None,
        typer.Option(
            help="SuperNI's; xlingual takes ROUGE-L over GPT-2's pieces. As recorded beside the file if unset."
        ),
    ] = None,
) -> None:
    """Score an existing file of SuperNI predictions, without the engine."""
    from pacos.evaluate import score as scoring

    say(scoring.score_file(predictions, json, references=references, track=track))


@app.command(rich_help_panel=PANEL)
def compare(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders eval/<label>/; the first is the base.")],
    out: OutDir = Path("."),
    force: Annotated[
        bool, typer.Option("--force", help="Compare evaluations of different settings, and say so.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Difference to the first evaluation, with paired intervals clustered by task; report.html shows it whole."""
    from pacos.evaluate import compare as comparing
    from pacos.report import render as reporting
    from pacos.results import plain

    comparison = comparing.compare(evaluations, out, force=force)
    page = reporting.render_comparison(evaluations, comparison, out)
    if as_json:
        print_json({"report": str(page), "comparison": plain(comparison)})
        return
    say(comparing.comparison_table(comparison))
    say(f"report: {page}")


@app.command(rich_help_panel=PANEL)
def export(config: ConfigFile, out: OutDir, overrides: Overrides = None) -> None:
    """Suites as task folders of lm-evaluation-harness, and this run's answers as its sample logs."""
    from pacos.evaluate import export as harness

    for command in harness.export(load_experiment(config, overrides), out):
        say(command)


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise RunError(f"{text!r} is not NAME=PATH", where="--adapter")
    return name, path
