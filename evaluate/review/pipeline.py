"""`pacos review`, step by step: draw the sheet, collect votes in the page or from a spreadsheet, conclude."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from pacos.errors import ConfigError
from pacos.evaluate.review import results, server, spreadsheet
from pacos.evaluate.review.questions import ReviewKind
from pacos.evaluate.review.sheet import draw, keep, read_sheet
from pacos.evaluate.review.votes import Votes

log = logging.getLogger("pacos")


def begin(
    kind: ReviewKind, sources: Sequence[Path], *, n: int, seed: int, suite: Path | None = None, out: Path | None = None
) -> Path:
    """The review's folder with its sheet, `<run>/review/<kind>--<name>/`; goes on with one that was begun alike.

    Raises DataError, and RunError where another sheet is there.
    """
    sheet = draw(kind, sources, n=n, seed=seed, suite=suite)
    name = re.sub(r"[^\w.-]", "_", sheet.name)
    folder = (out or home(sources[0])) / "review" / f"{kind}--{name}"
    keep(folder, sheet)
    log.info("%s: %d items of %d tasks, seed %d", folder, len(sheet.items), sheet.population, seed)
    return folder


def home(source: Path) -> Path:
    """The run that the source lies in, or else the source's own folder."""
    source = source.resolve()
    runs = [folder for folder in (source, *source.parents) if (folder / "manifest.json").is_file()]
    return runs[0] if runs else source if source.is_dir() else source.parent


def collect(folder: Path, *, host: str, port: int, rater: str) -> None:
    """Serve the page until Ctrl-C. Raises RunError where it is served already, ConfigError for a bad address."""
    with server.alone(folder):
        votes = Votes(folder / "votes.jsonl", read_sheet(folder))
        try:
            server.serve(votes, host=host, port=port, rater=rater)
        finally:
            votes.close()


def export(folder: Path, path: Path) -> None:
    spreadsheet.export(read_sheet(folder), path)
    log.info("%s: fill in the empty columns; `--import` takes it back", path)


def take_in(folder: Path, path: Path, rater: str) -> None:
    """Raises ConfigError without a rater, DataError for a file that does not fit; then nothing was taken in."""
    if not rater:
        raise ConfigError("votes need a rater", where="--import", todo="add --rater NAME")
    with server.alone(folder):
        votes = Votes(folder / "votes.jsonl", read_sheet(folder))
        try:
            log.info("%s: votes on %d items taken in", path, spreadsheet.take_in(votes, path, rater))
        finally:
            votes.close()


def conclude(folder: Path) -> str:
    """Write `review.json`; its table for the terminal."""
    return results.table(results.conclude(folder))
