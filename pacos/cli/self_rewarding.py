"""Commands by which a model learns from answers that are ranked or scored (Self-Rewarding LMs)."""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli.options import ConfigFile, DryRun, OutDir, Overrides, load_experiment, print_plan, run_stage
from pacos.terminal import say

app = typer.Typer()
PANEL = "Self-rewarding"


@app.command(rich_help_panel=PANEL)
def ranked(
    source: Annotated[str, typer.Argument(help="A file, folder or hub id: ranked answers, or Open Assistant's rows.")],
    out: OutDir,
    held_aside: Annotated[int, typer.Option(min=1, help="Requests that are held out to measure the judge.")] = 250,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 42,
) -> None:
    """Answers that people have ranked → instructions to learn, answers to learn judging by, answers held out."""
    from pacos.self_rewarding.ranked import split_ranked

    found = split_ranked(source, out, held_aside=held_aside, seed=seed)
    say(
        f"{found.requests:,} requests: {found.learn:,} to train on, {found.held_aside:,} held out, "
        f"{found.not_ranked_apart:,} whose answers are not ranked apart, {found.asked_again:,} duplicates of held-out "
        f"requests; in {out}"
    )


@app.command(rich_help_panel=PANEL)
def judging(
    answers: Annotated[Path, typer.Argument(metavar="LEARN.jsonl", help="Ranked answers, as `pacos ranked` writes.")],
    judgements: Annotated[Path, typer.Argument(help="judgements.jsonl of `pacos judge --kind additive` on them.")],
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Of which rows of the most frequent score stay.")] = 42,
) -> None:
    """Judgements that agree with people's ranking → what a model learns of judging, in Alpaca's form."""
    from pacos.evaluate.judge.judging_seeds import write_judging

    found = write_judging(answers, judgements, out, seed=seed)
    rows = found.rows_by_score.written
    say(
        f"{sum(rows.values()):,} judgements in {out}; of the sets {found.sets.kept:,} agree with people, "
        f"{found.sets.disagreeing:,} do not, {found.sets.incomplete:,} lack a score"
    )
    say("by score: " + ", ".join(f"{score}: {count:,}" for score, count in rows.items()))


@app.command(rich_help_panel=PANEL)
def answer(config: ConfigFile, overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Sample several answers of one model to each task of a dataset, for a judge to score."""
    from pacos.self_rewarding import answers

    run_stage("answer", answers, load_experiment(config, overrides), dry_run=dry_run)


@app.command(rich_help_panel=PANEL)
def pairs(
    config: ConfigFile,
    overrides: Overrides = None,
    judged: Annotated[
        Path | None, typer.Option(help="Folder of the judgements; the run's judge/additive--answers unless given.")
    ] = None,
) -> None:
    """Answers and their scores → preference pairs: of each task the best against the worst."""
    from pacos.runs import Run
    from pacos.self_rewarding import pairs as pairing

    experiment = load_experiment(config, overrides)
    with Run.open(experiment) as directory:
        pairing.main(experiment, directory, judged)


@app.command(rich_help_panel=PANEL)
def loop(
    config: ConfigFile,
    overrides: Overrides = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="How many; loop.rounds unless given.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Self-Rewarding: the model answers, scores its answers and learns from them, round after round."""
    from pacos.errors import PacosError
    from pacos.report import render as reporting
    from pacos.self_rewarding import loop as looping

    experiment = load_experiment(config, [*(overrides or []), *([f"loop.rounds={rounds}"] if rounds else [])])
    if dry_run:
        print_plan("loop", looping.plan(experiment))
        return
    stopped: PacosError | None = None
    try:
        looping.main(experiment)
    except PacosError as error:
        stopped = error
    if (experiment.run_dir / "rounds.json").is_file():
        say(f"report: {reporting.render(experiment.run_dir)}")
    if stopped:
        raise stopped
