"""Commands that make and look at datasets."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pacos.cli.options import (
    ConfigFile,
    DryRun,
    OutDir,
    Overrides,
    PlanAsJson,
    check_is_plan,
    load_experiment,
    print_plans,
    run_stage,
)
from pacos.extensions import FILTER_PRESETS
from pacos.terminal import say

app = typer.Typer()
PANEL = "Datasets"

WordTokenizer = Annotated[
    Literal["auto", "rouge", "unicode"],
    typer.Option(help="unicode: words of any script. auto: unicode for texts of which rouge's misses most words."),
]

Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes that judge tasks: 1, or with --ray all CPUs of the cluster. The files are the same with any.",
    ),
]
RayAddress = Annotated[
    str | None, typer.Option("--ray", metavar="ADDRESS", help="Judge on the Ray cluster at this address, or auto.")
]

if TYPE_CHECKING:
    FilterPresetName = str
else:
    FilterPresetName = Literal[tuple(FILTER_PRESETS)]


@app.command(rich_help_panel=PANEL)
def generate(
    config: ConfigFile,
    overrides: Overrides = None,
    dry_run: DryRun = False,
    as_json: PlanAsJson = False,
    shard: Annotated[
        str | None,
        typer.Option(metavar="K/N", help="Ask the K-th of N parts of the requests alone; `pacos curate` joins them."),
    ] = None,
    until_request: Annotated[
        int | None,
        typer.Option(min=1, help="With --shard: requests of all shards together; estimated from the target if unset."),
    ] = None,
) -> None:
    """Seed tasks → dataset: the base model writes lists of new tasks, filters keep the novel ones."""
    from pacos.errors import ConfigError
    from pacos.generate import pipeline, shards

    experiment = load_experiment(config, overrides)
    if shard is None:
        if until_request:
            raise ConfigError("is for shards", where="--until-request", todo="set generate.budget.requests instead")
        run_stage("generate", pipeline, experiment, dry_run=dry_run, as_json=as_json)
        return
    check_is_plan(as_json, dry_run=dry_run)
    part = shards.Shard.parse(shard)
    if dry_run:
        print_plans(experiment, {"generate": shards.plan(experiment, part, until_request)}, as_json=as_json)
    else:
        shards.generate_shard(experiment, part, until_request)


@app.command(rich_help_panel=PANEL)
def curate(
    responses: Annotated[
        list[Path], typer.Argument(help="A journal of answers (responses.jsonl); of shards all, or the folder of them.")
    ],
    out: OutDir,
    config: Annotated[Path | None, typer.Option("--config", help="Filters and seeds to apply.")] = None,
    workers: Workers = None,
    ray: RayAddress = None,
) -> None:
    """Journals of answers → dataset again, without the engine."""
    from pacos.config import GenerateConfig, load_config
    from pacos.errors import ConfigError
    from pacos.generate import curate as curation
    from pacos.generate import curate_shards as union_curation
    from pacos.generate.union import is_sharded, journal_files

    experiment = load_config(config) if config else None
    journals = journal_files(responses)
    if not is_sharded(journals):
        curation.curate(journals[0], out, experiment.generate if experiment else GenerateConfig(), workers, ray)
    elif experiment is None:
        raise ConfigError("is needed to join shards", where="--config", todo="give the one that they ran with")
    else:
        source = ", ".join(str(path.resolve()) for path in responses)
        union_curation.curate_shards(journals, source, out, experiment, workers, ray)


@app.command("filter", rich_help_panel=PANEL)
def filter_tasks(
    tasks: Annotated[Path, typer.Argument(help="Alpaca-format tasks (.json or .jsonl).")],
    out: OutDir,
    seeds: Annotated[Path | None, typer.Option(help="Seed tasks to be novel against; none unless given.")] = None,
    threshold: Annotated[float, typer.Option(min=0, max=1, help="Highest ROUGE-L that still counts as novel.")] = 0.7,
    preset: Annotated[FilterPresetName, typer.Option(help="Whose published rules.")] = "alpaca",
    defects: Annotated[bool, typer.Option("--defects", help="Reject known kinds of faulty tasks as well.")] = False,
    tokenizer: Annotated[Literal["rouge", "unicode"], typer.Option(help="unicode: words of any script.")] = "rouge",
    workers: Workers = None,
    ray: RayAddress = None,
) -> None:
    """The published filters alone, on any Alpaca-format file."""
    from pacos.config import FiltersConfig
    from pacos.generate import curate as curation

    filters = FiltersConfig(preset=preset, defects=defects, novelty=threshold, tokenizer=tokenizer)
    curation.filter_file(tasks, out, seeds, filters, workers, ray)


@app.command(rich_help_panel=PANEL)
def analyze(
    dataset: Annotated[Path, typer.Argument(help="Alpaca-format tasks, or a pacos dataset folder.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the results, or the dataset's.")] = None,
    seeds: Annotated[Path | None, typer.Option(help="Seed tasks to compare with; pacos's own unless given.")] = None,
    tokenizer: WordTokenizer = "auto",
) -> None:
    """Lengths, novelty, verbs and nouns, defects of a dataset → analysis.json and analysis.html."""
    from pacos.generate import analyze as analysis
    from pacos.report import render as reporting

    folder = out or (dataset if os.path.isdir(dataset) else dataset.parent)
    if said := str(analysis.analyze(dataset, folder, seeds, tokenizer).tokenization):
        say(said)
    say(f"analysis: {reporting.render_analysis(folder)}")


@app.command(rich_help_panel=PANEL)
def contamination(
    dataset: Annotated[Path, typer.Argument(help="Alpaca-format tasks (.json, .jsonl) or a dataset folder.")],
    suite: Annotated[Path, typer.Option(help="A SuperNI folder, or a user-oriented .jsonl file.")],
    json: Annotated[Path | None, typer.Option("--json", help="Write every overlap here.")] = None,
    tokenizer: WordTokenizer = "auto",
) -> None:
    """Texts of an evaluation set that turn up in a training set: same words, a run of 13, or ROUGE-L of 0.7."""
    from pacos.evaluate import contamination as overlaps

    say(overlaps.contamination_table(overlaps.check_dataset(dataset, suite, json, tokenizer)))
