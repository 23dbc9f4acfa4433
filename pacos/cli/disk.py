"""Commands that show the runs on the disk, and free it of what they can do without."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pacos.cli.options import AsJson, print_json
from pacos.terminal import escaped_line, say

if TYPE_CHECKING:
    from pacos.run_list import RunSummary

app = typer.Typer()
PANEL = "Project"


@app.command(rich_help_panel=PANEL)
def runs(
    folder: Annotated[Path, typer.Argument(help="An experiment's `runs_dir`.")] = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Every run below a folder: the status of its stages, what it takes of the disk, when it last changed."""
    from pacos.results import plain
    from pacos.run_list import list_runs

    found = list_runs(folder)
    if as_json:
        print_json({"runs": plain(found)})
        return
    if not found:
        say(f"no runs in {folder}")
        return
    _print_runs(found)


@app.command(rich_help_panel=PANEL)
def clean(
    run: Annotated[list[Path], typer.Argument(help="A run directory, or several.")],
    yes: Annotated[bool, typer.Option("--yes", help="Remove it without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove older checkpoints, token ids, the novelty index and superseded journals; results and weights stay."""
    from pacos.run_cleaning import clean as remove
    from pacos.run_cleaning import find_removable
    from pacos.run_list import size_text

    found = [one for run_dir in run for one in find_removable(run_dir)]
    for one in found:
        say(f"{size_text(one.bytes):>9}  {one.path}  ({one.why})")
    total = size_text(sum(one.bytes for one in found))
    if dry_run or not found:
        say(f"{total} can be freed")
    elif yes or (sys.stdin.isatty() and typer.confirm(f"Remove {total}?")):
        freed = [one for run_dir in run for one in remove(run_dir)]
        say(f"{size_text(sum(one.bytes for one in freed))} freed")
    else:
        say(f"{total} can be freed: --yes removes it")


def _print_runs(found: "list[RunSummary]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from pacos.run_list import size_text

    table = Table(box=None, padding=(0, 2, 0, 0))
    for name in ("run", "stages", "in use", "disk", "last change (UTC)"):
        table.add_column(name, overflow="fold")  # narrow terminals get more lines, and all of every cell
    for one in found:
        process = {0: "", -1: "yes"}.get(one.process, f"process {one.process}")
        changed = one.changed[: len("2026-11-30T12:00")].replace("T", " ")
        cells = (one.name, _stages_line(one), process, size_text(one.bytes), changed)
        table.add_row(*(Text(escaped_line(cell)) for cell in cells))
    Console().print(table)


def _stages_line(run: "RunSummary") -> str:
    """The stages of each status: done: generate, train; failed: evaluate."""
    by_status: dict[str, list[str]] = {}
    for name, status in run.stages.items():
        by_status.setdefault(status, []).append(name)
    return "; ".join(f"{status}: {', '.join(names)}" for status, names in by_status.items()) or run.flaw or "none yet"
