"""`manifest.json`: what ran in a run directory, where, with which inputs and outputs."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pacos.errors import DataError, RunError
from pacos.files import file_sha256, line_count
from pacos.json_text import unreadable
from pacos.machine import GitState, Hardware
from pacos.results import read_result


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as a stage read or wrote it; `rows` of a JSONL file, 0 for any other."""

    path: str
    sha256: str
    rows: int

    @property
    def is_unchanged(self) -> bool:
        """Whether the file is there and holds what it held; one that cannot be read does not."""
        try:
            path = Path(self.path)
            return path.is_file() and file_sha256(path) == self.sha256
        except (OSError, ValueError):
            return False


@dataclass(slots=True)
class StageRecord:
    """One stage: `running`, `done` or `failed`; tokens are those of prompts and completions."""

    status: str
    config_sha256: str
    started: str
    seconds: float = 0.0
    inputs: list[FileRecord] = field(default_factory=list)
    outputs: list[FileRecord] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    cost: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = {"prompt": 0, "completion": 0} | self.tokens


@dataclass(slots=True)
class Manifest:
    """All stages of a run; the machine and versions are those of the last one. None: no stage has begun."""

    name: str
    pacos: str = ""
    git: GitState = field(default_factory=GitState)
    versions: dict[str, str] = field(default_factory=dict)
    hardware: Hardware | None = None
    seed: int = 0
    stages: dict[str, StageRecord] = field(default_factory=dict)


def read_manifest(directory: Path) -> Manifest:
    """The manifest of a run directory. Raises RunError where there is none, or it is broken."""
    path = directory / "manifest.json"
    if not path.is_file():
        raise RunError("is not a pacos run: no manifest.json", where=str(directory))
    todo = "restore it, or start a new run"
    try:
        return read_result(path, Manifest, todo=todo)
    except DataError as broken:
        raise RunError(broken.what, where=str(path), todo=todo) from None


def describe_files(paths: Sequence[Path]) -> list[FileRecord]:
    """A record of each file; a folder counts as its files, sorted. Raises RunError for one that cannot be read.

    Of a folder, hidden files and folders (`.novelty`) are left out: they may be deleted, or written anew.
    """
    files = [file for path in paths for file in ([path] if path.is_file() else _shown(path))]
    return [_describe(file) for file in files if file.is_file()]


def _shown(folder: Path) -> list[Path]:
    """What lies below a folder, without what is hidden."""
    found = sorted(folder.rglob("*"))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _describe(file: Path) -> FileRecord:
    try:
        return FileRecord(str(file), file_sha256(file), line_count(file))
    except OSError as failure:
        raise unreadable(failure, file, RunError) from None
