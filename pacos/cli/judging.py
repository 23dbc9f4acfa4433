"""Commands in which models and people judge answers."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from pacos.cli.options import ConfigFile, DryRun, Overrides, load_experiment, print_plan
from pacos.extensions import JUDGE_KINDS, REVIEW_KINDS
from pacos.terminal import say

app = typer.Typer()
PANEL = "Judging"

if TYPE_CHECKING:
    JudgeKindName = str
    ReviewKindName = str
else:
    JudgeKindName, ReviewKindName = Literal[tuple(JUDGE_KINDS)], Literal[tuple(REVIEW_KINDS)]
SuiteOfEvaluations = Annotated[
    Path | None, typer.Option(help="The suite of the evaluations; their run's config names it otherwise.")
]


@app.command(rich_help_panel=PANEL)
def judge(
    config: ConfigFile,
    kind: Annotated[JudgeKindName, typer.Option(help="Grades A-D, blind comparison in both orders, or scores 0-5.")],
    overrides: Overrides = None,
    answers: Annotated[
        list[Path] | None,
        typer.Option(help="eval/<label>/ or a file of answers; may be repeated, the first is compared with."),
    ] = None,
    suite: SuiteOfEvaluations = None,
    dry_run: DryRun = False,
) -> None:
    """A local model judges answers, those of this run's evaluations unless others are given."""
    from pacos.evaluate.judge import pipeline as judging
    from pacos.evaluate.judge.answers import evaluations_of, read_answers
    from pacos.evaluate.review.results import compare_judge
    from pacos.runs import Run

    experiment = load_experiment(config, overrides)
    judged = read_answers(answers or evaluations_of(experiment.run_dir), suite)
    if dry_run:
        print_plan("judge", judging.plan(experiment, kind, judged))
        return
    with Run.open(experiment) as directory:
        found = judging.main(experiment, directory, kind, judged)
    if found.is_checked:
        return
    for line in compare_judge(experiment.run_dir, kind, judged.suite):
        say(line)


@app.command(rich_help_panel=PANEL)
def review(
    sources: Annotated[
        list[Path], typer.Argument(metavar="DATASET|EVAL_DIR…", help="Or files of answers, as in judge.")
    ],
    kind: Annotated[ReviewKindName, typer.Option(help="Three questions a task, grades A-D, or blind comparison.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Tasks to draw.")] = 200,
    seed: Annotated[int, typer.Option(help="Of the draw, and of who stands where.")] = 0,
    rater: Annotated[str, typer.Option(help="Your name; the page asks for it otherwise.")] = "",
    out: Annotated[Path | None, typer.Option("--out", help="Put review/<kind>--<name>/ here, not in the run.")] = None,
    suite: SuiteOfEvaluations = None,
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
        pipeline.export_sheet(folder, to_csv)
        return
    if from_csv:
        pipeline.import_votes(folder, from_csv, rater)
    elif not results:
        pipeline.collect(folder, host=host, port=port, rater=rater)
    say(pipeline.summary(folder))
    say(f"report: {reporting.render_review(folder)}")


@app.command(rich_help_panel=PANEL)
def agreement(
    one: Annotated[Path, typer.Argument(help="Grades A-D: judgements.jsonl, or lines of item, model, verdict.")],
    other: Annotated[Path, typer.Argument(help="Those of another rater.")],
) -> None:
    """Agreement of two raters: Cohen's kappa of four grades and of A, B against C, D; Spearman's correlation."""
    import json

    from pacos.evaluate.judge.grades import grade_file_agreement
    from pacos.results import plain

    say(json.dumps(plain(grade_file_agreement(one, other)), indent=2))


@app.command(rich_help_panel=PANEL)
def winrate(annotations: Annotated[Path, typer.Argument(help="AlpacaEval's annotations.json.")]) -> None:
    """Win rate and standard error of AlpacaEval-format annotations."""
    from pacos.evaluate.judge import alpaca_eval

    say(alpaca_eval.win_rate_table(alpaca_eval.win_rates(annotations)))
