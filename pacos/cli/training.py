"""Commands that train, merge and publish models."""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli.options import ConfigFile, DryRun, Overrides, PlanAsJson, check_is_plan, load_experiment, print_plans
from pacos.errors import ConfigError
from pacos.terminal import say

app = typer.Typer()
PANEL = "Models"


@app.command(rich_help_panel=PANEL)
def train(
    config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False, as_json: PlanAsJson = False
) -> None:
    """Dataset → LoRA adapter. The same as `accelerate launch train.py --config FILE`."""
    from pacos.train import launch

    check_is_plan(as_json, dry_run=dry_run)
    experiment = load_experiment(config, overrides)
    if dry_run:
        print_plans(experiment, {"train": launch.plan(experiment)}, as_json=as_json)
    else:
        launch.main(experiment)


@app.command(name="inspect", rich_help_panel=PANEL)
def inspect_rows(
    experiment: Annotated[
        list[str] | None, typer.Argument(metavar="CONFIG [key=value]…", help="The experiment's YAML file; overrides.")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="The file, as other commands take it.")] = None,
    rows: Annotated[int, typer.Option("--rows", min=1, help="How many examples (dpo: pairs) to show.")] = 6,
    out: Annotated[Path | None, typer.Option("--out", help="An HTML file for the same as a page.")] = None,
) -> None:
    """How training rows become token ids: what is supervised, shared and cut. Starts nothing, loads no weights."""
    from rich.console import Console

    from pacos.report.render import render_rows
    from pacos.report.rows_text import show
    from pacos.train.data.preview import preview_rows

    words = [*([str(config)] if config else []), *(experiment or [])]
    if not words or not words[0]:
        raise ConfigError("needs the experiment's file", where="pacos inspect", todo="pacos inspect configs/NAME.yaml")
    file, *overrides = words
    preview = preview_rows(load_experiment(Path(file), overrides), rows)
    if out:
        render_rows(preview, out)  # first: whoever reads what is shown may stop reading
    show(preview, Console())
    if out:
        say(f"page: {out}")


@app.command(rich_help_panel=PANEL)
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a trained adapter.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the merged model.")],
    base: Annotated[
        str | None,
        typer.Option("--base", help="Folder or hub id of the base, if the adapter names none or it moved."),
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the base or the tokenizer.")
    ] = False,
) -> None:
    """Adapter + base → one model, with the drift that merging costs."""
    from pacos.train.export import merge as merging

    say(f"serve it: {merging.merge(adapter, out, base=base, trust_remote_code=trust_remote_code)}")


@app.command(rich_help_panel=PANEL)
def push(
    folder: Annotated[Path, typer.Argument(help="A run's train/adapter or train/model.")],
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub.")],
    public: Annotated[bool, typer.Option("--public", help="A repository made for it is private otherwise.")] = False,
) -> None:
    """Adapter or model → the Hugging Face hub, in one commit."""
    from pacos.train.export import hub

    say(hub.push(folder, repository, public=public))
