"""The `pacos` command: one word per stage, each a thin door to the stage's own function.

Stages are imported inside the commands, so that `pacos --help` answers at once.
"""

import logging
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from pacos.cli import evaluation as cli_evaluation
from pacos.cli import self_rewarding as cli_reward
from pacos.cli.options import ConfigFile, DryRun, OutDir, Overrides, print_plan
from pacos.errors import PacosError

app = typer.Typer(
    help="Raise an instruction-following model the Alpaca way, on hardware you own.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


StageName = Literal["generate", "train", "evaluate", "report"]


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    until: Annotated[StageName, typer.Option(help="The last stage to do.")] = "report",
    dry_run: DryRun = False,
) -> None:
    """Every stage in turn: generate, train, evaluate, report. Goes on where it stopped."""
    from pacos.config import load_config
    from pacos.evaluate import pipeline as evaluation
    from pacos.generate import pipeline as generation
    from pacos.report import render as reporting
    from pacos.runs import Run
    from pacos.train import launch

    experiment = load_config(config, overrides or [])
    plans = {
        "generate": generation.plan(experiment),
        "train": launch.plan(experiment),
        "evaluate": evaluation.plan(experiment) if experiment.evaluate.suites else ["no suites: skipped"],
    }
    if dry_run:
        for stage, lines in plans.items():
            print_plan(stage, lines)
        return
    with Run.open(experiment) as directory:
        generation.main(experiment, directory)
    if until == "generate":
        return
    launch.main(experiment)
    if until == "train":
        return
    if experiment.evaluate.suites:
        with Run.open(experiment) as directory:
            evaluation.main(experiment, directory)
    if until == "evaluate":
        return
    typer.echo(f"report: {reporting.render(experiment.run_dir)}")


@app.command()
def generate(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Seed tasks → dataset: the base model writes lists of new tasks, filters keep the novel ones."""
    from pacos.config import load_config
    from pacos.generate import pipeline
    from pacos.runs import Run

    experiment = load_config(config, overrides or [])
    if dry_run:
        print_plan("generate", pipeline.plan(experiment))
        return
    with Run.open(experiment) as directory:
        pipeline.main(experiment, directory)


@app.command()
def curate(
    responses: Annotated[Path, typer.Argument(help="A journal of answers (responses.jsonl).")],
    out: OutDir,
    config: Annotated[Path | None, typer.Option("--config", help="Filters and seeds to apply.")] = None,
) -> None:
    """Journal of answers → dataset again, without the engine."""
    from pacos.config import GenerateConfig, load_config
    from pacos.generate import curate as curation

    curation.curate(responses, out, load_config(config).generate if config else GenerateConfig())


@app.command("filter")
def filter_tasks(
    tasks: Annotated[Path, typer.Argument(help="Alpaca-format tasks (.json or .jsonl).")],
    out: OutDir,
    seeds: Annotated[Path | None, typer.Option(help="Seed tasks to be novel against; none unless given.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Highest ROUGE-L that still counts as novel.")] = 0.7,
    preset: Annotated[Literal["alpaca", "self-instruct"], typer.Option(help="Whose published rules.")] = "alpaca",
    defects: Annotated[bool, typer.Option("--defects", help="Reject known kinds of faulty tasks as well.")] = False,
    tokenizer: Annotated[Literal["rouge", "unicode"], typer.Option(help="unicode: words of any script.")] = "rouge",
) -> None:
    """The published filters alone, on any Alpaca-format file."""
    from pacos.config import FiltersConfig
    from pacos.generate import curate as curation

    filters = FiltersConfig(preset=preset, defects=defects, novelty=threshold, tokenizer=tokenizer)
    curation.filter_file(tasks, out, seeds, filters)


@app.command()
def train(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Dataset → LoRA adapter. The same as `accelerate launch train.py --config FILE`."""
    from pacos.config import load_config
    from pacos.train import launch

    experiment = load_config(config, overrides or [])
    if dry_run:
        print_plan("train", launch.plan(experiment))
        return
    launch.main(experiment)


@app.command()
def merge(
    adapter: Annotated[Path, typer.Argument(help="Folder of a trained adapter.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for the merged model.")],
) -> None:
    """Adapter + base → one model, with the drift that merging costs."""
    from pacos.train.export import merge as merging

    typer.echo(f"serve it: {merging.merge(adapter, out)}")


@app.command()
def push(
    folder: Annotated[Path, typer.Argument(help="A run's train/adapter or train/model.")],
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub.")],
    public: Annotated[bool, typer.Option("--public", help="A repository made for it is private otherwise.")] = False,
) -> None:
    """Adapter or model → the Hugging Face hub, in one commit."""
    from pacos.train.export import hub

    typer.echo(hub.push(folder, repository, public=public))


@app.command()
def analyze(
    dataset: Annotated[Path, typer.Argument(help="Alpaca-format tasks, or a pacos dataset folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results, or the dataset's.")] = None,
    seeds: Annotated[Path | None, typer.Option(help="Seed tasks to compare with; pacos's own unless given.")] = None,
) -> None:
    """Lengths, novelty, verbs and nouns, defects of a dataset → analysis.json and analysis.html."""
    from pacos.generate import analyze as analysis
    from pacos.report import render as reporting

    folder = out or (dataset if dataset.is_dir() else dataset.parent)
    analysis.analyze(dataset, folder, seeds)
    typer.echo(f"analysis: {reporting.render_analysis(folder)}")


app.add_typer(cli_evaluation.app)
app.add_typer(cli_reward.app)


@app.command()
def config(
    prefix: Annotated[str, typer.Argument(help="A section or key, e.g. train.lora; everything unless given.")] = "",
) -> None:
    """Every key of an experiment: its type, its default, what it means."""
    from rich.console import Console
    from rich.table import Table

    from pacos.config.reference import keys
    from pacos.errors import ConfigError

    shown = [key for key in keys() if not prefix or f"{key.name}.".startswith(f"{prefix}.")]
    if not shown:
        raise ConfigError(f"there is no key {prefix!r}", todo="`pacos config` lists them all")
    table = Table("key", "type", "default", "meaning", box=None, padding=(0, 2, 0, 0))
    for key in shown:
        table.add_row(key.name, key.type, key.default.strip("`"), key.meaning)
    Console().print(table)


@app.command()
def report(run: Annotated[Path, typer.Argument(help="A run directory.")]) -> None:
    """Render report.html and report.json again from what the stages wrote."""
    from pacos.report import render as reporting

    typer.echo(reporting.render(run))


@app.command()
def doctor() -> None:
    """What works on this machine, what is missing, and the command that mends it."""
    from pacos import doctor as examination

    sys.exit(examination.main())


def main() -> None:
    """Entry point: errors a user can mend are one message and exit code 2, anything else keeps its traceback."""
    log = logging.getLogger("pacos")
    log.setLevel(logging.INFO)
    console = logging.StreamHandler()
    console.setFormatter(logging.Formatter("pacos: %(message)s"))
    log.addHandler(console)
    try:
        app()
    except PacosError as error:
        print(f"pacos: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("pacos: stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    finally:
        log.removeHandler(console)


if __name__ == "__main__":
    main()
