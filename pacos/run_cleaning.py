"""Frees the disk of what a run can do without: older checkpoints, token ids, the novelty index, superseded journals.

Results, journals, datasets and trained weights stay, and so do the newest checkpoint and the best one: what is removed
here is computed again if it is wanted, or was replaced.
"""

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pacos.disk import disk_error
from pacos.errors import RunError
from pacos.results.manifest import read_manifest
from pacos.run_list import files_in
from pacos.runs import locked


@dataclass(frozen=True, slots=True)
class Removable:
    """A folder or file that the run can do without, why, and what it takes of the disk."""

    path: Path
    why: str
    bytes: int


def find_removable(run_dir: Path) -> list[Removable]:
    """What can be removed from a run. Raises RunError where there is none.

    Runs inside it, such as a sweep's trials, are runs of their own; links are passed over.
    """
    read_manifest(run_dir)
    return [
        Removable(path, why, sum(state.st_blocks * 512 for state in files_in(path))) for path, why in _walk(run_dir)
    ]


def clean(run_dir: Path) -> list[Removable]:
    """Remove it all and return what it was. Raises RunError where a process works in the run, or something stays."""
    with locked(run_dir / ".lock", "a pacos process is working in this run"):
        found = find_removable(run_dir)
        for one in found:
            _remove(one.path)
    return found


def _walk(run_dir: Path) -> Iterator[tuple[Path, str]]:
    for place, folders, files in os.walk(run_dir):
        here = Path(place)
        if here != run_dir and "manifest.json" in files:
            folders.clear()
            continue
        for name in sorted(folders):
            if (why := _why(here, name)) and not (here / name).is_symlink():
                yield here / name, why
                folders.remove(name)
        for name in sorted(files):
            if re.fullmatch(r"superseded-\d+\.jsonl", name) and not (here / name).is_symlink():
                yield here / name, "answers to requests that are not asked any more"


def _why(here: Path, name: str) -> str:
    """Why the folder `name` can be removed; "" where it cannot."""
    if here.name == "checkpoints" and here.parent.name == "train":
        if re.fullmatch(r"step-\d+|\.step-\d+\.new", name) and name not in _kept_checkpoints(here):
            return "a checkpoint that is neither the newest nor the best"
        return ""
    if name == "tokenized" and here.name in ("train", "trials"):
        return "token ids, made again from the rows"
    if name in (".novelty", ".known") and here.name == "dataset":
        return "a novelty index, made again from the tasks"
    return ""


def _kept_checkpoints(folder: Path) -> set[str]:
    """The newest complete checkpoint, and the one that it calls the best."""
    complete = [path for path in folder.glob("step-*") if (path / "COMPLETE").is_file()]
    if not complete:
        return set()
    newest = max(complete, key=lambda path: int(path.name.removeprefix("step-")))
    file = newest / "state" / "progress.json"
    try:
        best = json.loads(file.read_text(encoding="utf-8")).get("best")
        return {newest.name} | ({f"step-{best['step']}"} if best else set())
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as failure:
        raise RunError(
            f"cannot be read: {failure}", where=str(file), todo="remove that checkpoint: training resumes before it"
        ) from failure


def _remove(path: Path) -> None:
    """Remove a folder or file. A checkpoint is incomplete from the start of it, whatever interrupts it."""
    try:
        if path.is_dir():
            (path / "COMPLETE").unlink(missing_ok=True)
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as failure:
        raise disk_error(failure, path, doing="remove") from failure
