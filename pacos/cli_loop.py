"""The commands of `pacos` by which a model learns from answers that are ranked or scored."""

from pathlib import Path
from typing import Annotated

import typer

from pacos.cli_options import OutDir

app = typer.Typer()


@app.command()
def ranked(
    source: Annotated[str, typer.Argument(help="A file, folder or hub id: ranked answers, or Open Assistant's rows.")],
    out: OutDir,
    held_aside: Annotated[int, typer.Option(min=1, help="Requests that the judge is measured on, never taught.")] = 250,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 42,
) -> None:
    """Answers that people have ranked → instructions to learn, answers to learn judging by, answers held aside."""
    from pacos.evaluate.reward.ranked import split

    found = split(source, out, held_aside=held_aside, seed=seed)
    typer.echo(
        f"{found['requests']:,} requests: {found['learn']:,} to learn from, {found['held_aside']:,} held aside, "
        f"{found['not_ranked_apart']:,} whose answers are not ranked apart, {found['asked_again']:,} that ask the same "
        f"as one held aside; in {out}"
    )


@app.command()
def judging(
    answers: Annotated[Path, typer.Argument(metavar="LEARN.jsonl", help="Ranked answers, as `pacos ranked` writes.")],
    judgements: Annotated[Path, typer.Argument(help="judgements.jsonl of `pacos judge --kind additive` on them.")],
    out: OutDir,
    seed: Annotated[int, typer.Option(help="Of which rows of the most frequent score stay.")] = 42,
) -> None:
    """Judgements that agree with people's ranking → what a model learns of judging, in Alpaca's form."""
    from pacos.evaluate.reward.judging_seeds import write_judging

    found = write_judging(answers, judgements, out, seed=seed)
    sets, rows = found["sets"], found["rows_by_score"]["written"]
    typer.echo(
        f"{sum(rows.values()):,} judgements in {out}; of the sets {sets['kept']:,} agree with people, "
        f"{sets['disagreeing']:,} do not, {sets['incomplete']:,} lack a score"
    )
    typer.echo("by score: " + ", ".join(f"{score}: {count:,}" for score, count in rows.items()))
