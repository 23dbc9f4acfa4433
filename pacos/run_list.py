"""Which runs there are below a folder: how far each came, whether it is in use, and what it takes of the disk."""

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacos.errors import RunError
from pacos.json_text import unreadable
from pacos.results.manifest import read_manifest


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A run: its stages with their status, what it takes of the disk, and when a file of it was last written.

    `process` is the one that works in it, 0 where none does. A manifest that cannot be read is a `flaw`.
    """

    name: str
    path: str
    stages: dict[str, str] = field(default_factory=dict)
    process: int = 0
    bytes: int = 0
    changed: str = ""
    flaw: str = ""


def list_runs(folder: Path) -> list[RunSummary]:
    """The runs directly below a folder, the one written to last first. Raises RunError for no such folder."""
    try:
        found = sorted(path for path in folder.iterdir() if (path / "manifest.json").is_file())
    except OSError as failure:
        raise unreadable(failure, folder, RunError) from None
    return sorted(map(summarize, found), key=lambda run: run.changed, reverse=True)


def summarize(run_dir: Path) -> RunSummary:
    """The summary of a run."""
    stages, flaw = dict[str, str](), ""
    try:
        stages = {name: entry.status for name, entry in read_manifest(run_dir).stages.items()}
    except RunError as broken:
        flaw = broken.what
    files = list(files_in(run_dir))
    written = max((state.st_mtime for state in files), default=0.0)
    return RunSummary(
        name=run_dir.name,
        path=str(run_dir),
        stages=stages,
        process=process_in(run_dir),
        bytes=sum(state.st_blocks * 512 for state in files),
        changed=datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
        flaw=flaw,
    )


def files_in(path: Path) -> Iterator[os.stat_result]:
    """The state of every file in a folder, or of the file itself; links are not followed."""
    paths = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    for file in paths or ([] if path.is_dir() else [str(path)]):
        try:
            yield os.lstat(file)
        except FileNotFoundError:  # a run at work removes files, too
            continue


def process_in(run_dir: Path) -> int:
    """The process that holds the run's lock; 0 where none does."""
    try:
        lock = os.open(run_dir / ".lock", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return 0
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip()
        return int(holder) if holder.isdecimal() else -1
    finally:
        os.close(lock)
    return 0


def size_text(size: int) -> str:
    """A size as people read it: 12 KB, 3.4 GB."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size / 1e3:.0f} KB"
