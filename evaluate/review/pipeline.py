"""`pacos review`, step by step: draw the sheet, collect votes in the page or from a spreadsheet, sum them up."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from pacos.errors import ConfigError
from pacos.evaluate.review import results
from pacos.evaluate.review.kinds import review_kind
from pacos.evaluate.review.server import serve
from pacos.evaluate.review.sheet import read_sheet, write_sheet
from pacos.evaluate.review.spreadsheet import import_csv, write_csv
from pacos.evaluate.review.votes import Votes, review_lock
from pacos.files import safe_name

log = logging.getLogger("pacos")


def begin(
    kind: str, sources: Sequence[Path], *, n: int, seed: int, suite: Path | None = None, out: Path | None = None
) -> Path:
    """Draw the sheet and return the review's folder, `<run>/review/<kind>--<name>/`; resumes one with the same sheet.

    Raises DataError for sources without tasks or answers, RunError where the folder holds another sheet.
    """
    sheet = review_kind(kind).draw(sources, n=n, seed=seed, suite=suite)
    name = safe_name(re.sub(r"[^\w.-]", "_", sheet.name))
    folder = (out or home_of(sources[0])) / "review" / f"{kind}--{name}"
    write_sheet(folder, sheet)
    log.info("%s: %d items of %d tasks, seed %d", folder, len(sheet.items), sheet.population, seed)
    return folder


def home_of(source: Path) -> Path:
    """Return the run directory that the source is in, or else the source's own folder."""
    source = source.resolve()
    runs = [folder for folder in (source, *source.parents) if (folder / "manifest.json").is_file()]
    return runs[0] if runs else source if source.is_dir() else source.parent


def collect(folder: Path, *, host: str, port: int, rater: str) -> None:
    """Serve the page until Ctrl-C. Raises RunError where it is served already, ConfigError for a bad address."""
    with review_lock(folder):
        votes = Votes(folder / "votes.jsonl", read_sheet(folder))
        try:
            serve(votes, host=host, port=port, rater=rater)
        finally:
            votes.close()


def export_sheet(folder: Path, path: Path) -> None:
    """Write the sheet as CSV, to be filled in."""
    write_csv(read_sheet(folder), path)
    log.info("%s: fill in the empty columns, then give it back by `--import`", path)


def import_votes(folder: Path, path: Path, rater: str) -> None:
    """Read a filled-in CSV. Raises ConfigError without a rater, DataError for a file that does not fit the sheet; no
    vote is imported then."""
    if not rater:
        raise ConfigError("votes need a rater", where="--import", todo="add --rater NAME")
    with review_lock(folder):
        votes = Votes(folder / "votes.jsonl", read_sheet(folder))
        try:
            log.info("%s: votes on %d items imported", path, import_csv(votes, path, rater))
        finally:
            votes.close()


def summary(folder: Path) -> str:
    """Write `review.json` and return its table for the terminal."""
    return results.review_table(results.conclude(folder))
