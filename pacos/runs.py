"""The run directory `runs/<name>/`: its lock, its manifest, and a record of each stage.

    with Run.open(config) as run, run.stage("generate", config.generate, inputs=[seeds]) as stage:
        …
        stage.outputs.append(run.dataset)

The manifest is replaced atomically at a stage's start (`running`) and end (`done` or `failed`). A stage that refuses to
begin, and has changed nothing, leaves manifest and configuration as they were.
"""

import contextlib
import fcntl
import logging
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacos import __version__
from pacos.config import Config, EvaluateConfig, SuiteConfig, resolved_yaml, section_sha256
from pacos.errors import ConfigError, DataError, ModelError, RunError
from pacos.files import disk_error, make_folder, write_bytes, write_text
from pacos.json_text import unreadable
from pacos.machine import git_state, hardware, library_versions
from pacos.results import write_result
from pacos.results.manifest import Manifest, StageRecord, describe_files, read_manifest
from pacos.run_log import RunLog
from pacos.serving import guarded

log = logging.getLogger("pacos")

# Errors of a stage that may have refused to begin; those of a server and of training come later.
REFUSALS = (ConfigError, DataError, ModelError, RunError)


@dataclass
class Stage:
    """A stage at work; what it fills in goes to the manifest when it ends."""

    config_sha256: str
    outputs: list[Path] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    cost: float = 0.0


class Run:
    """One experiment's folder. `open` creates or resumes it; only one process may hold it."""

    def __init__(self, config: Config, lock: int) -> None:
        self.config = config
        self.dir = config.run_dir
        self._lock = lock
        self._log_file = RunLog(self.dir / "log.txt")

    @property
    def dataset(self) -> Path:
        """The dataset folder."""
        return self.dir / "dataset"

    @property
    def train(self) -> Path:
        """The training folder."""
        return self.dir / "train"

    @property
    def trained(self) -> Path:
        """`train/adapter`, or `train/model` of a full tuning."""
        return self.train / self.config.train.result

    @property
    def eval(self) -> Path:
        """The folder of evaluations, one below it for each."""
        return self.dir / "eval"

    @classmethod
    def open(cls, config: Config) -> "Run":
        """Create the folder, or resume it; `config.yaml` of an earlier session stays until a stage begins.

        Raises RunError: the folder holds something else, another run, is in use by another process, or cannot be
        written.
        """
        directory = config.run_dir
        _check_is_ours(directory)
        make_folder(directory)
        for record in guarded.RECORDS:  # what a killed command left behind may hold the lock
            guarded.stop_left_over(directory / record)
        lock = lock_file(directory / ".lock", "another pacos process is working in this run")
        try:
            manifest = directory / "manifest.json"
            if manifest.exists() and (owner := read_manifest(directory).name) != config.name:
                raise RunError(f"belongs to the run {owner!r}", where=str(directory), todo="choose another `name`")
            run = cls(config, lock)
            if not (manifest.exists() and (directory / "config.yaml").exists()):
                run.keep_config()
            if not manifest.exists():
                write_result(manifest, Manifest(config.name))
        except BaseException:
            os.close(lock)
            raise
        return run

    def keep_config(self) -> None:
        """Write the configuration to `config.yaml`, from which the experiment runs again."""
        write_text(self.dir / "config.yaml", resolved_yaml(self.config))

    def __enter__(self) -> "Run":
        log.addHandler(self._log_file)
        return self

    def __exit__(self, *_: object) -> None:
        log.removeHandler(self._log_file)
        self._log_file.close()
        os.close(self._lock)

    def is_done(self, name: str, *decides: object) -> bool:
        """Whether the stage ended well with this configuration, its inputs and outputs still as they were."""
        entry = read_manifest(self.dir).stages.get(name)
        if entry is None or entry.status != "done" or entry.config_sha256 != section_sha256(*decides):
            return False
        return all(file.is_unchanged for file in entry.inputs + entry.outputs)

    @contextlib.contextmanager
    def stage(self, name: str, *decides: object, inputs: Sequence[Path] = ()) -> Iterator[Stage]:
        """Work of one stage. `decides` are the config values its result depends on."""
        stage = Stage(section_sha256(*decides))
        began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
        entry = StageRecord("running", stage.config_sha256, started, inputs=describe_files(inputs))
        before = _RunState.of(self.dir, name)
        self.keep_config()
        self._record(name, entry)

        def end(status: str) -> None:
            entry.status = status
            entry.seconds = round(time.monotonic() - began, 3)
            entry.outputs = describe_files([path for path in stage.outputs if path.exists()])
            entry.tokens, entry.cost = stage.tokens, stage.cost
            self._record(name, entry)

        try:
            yield stage
        except BaseException as failure:
            if isinstance(failure, REFUSALS) and before.still_holds(stage):
                before.put_back()
            else:
                end("failed")
            raise
        end("done")

    def _record(self, name: str, entry: StageRecord) -> None:
        manifest = Manifest(
            name=self.config.name,
            pacos=__version__,
            git=git_state(),
            versions=library_versions(),
            hardware=hardware(),
            seed=self.config.seed,
            stages=read_manifest(self.dir).stages | {name: entry},
        )
        write_result(self.dir / "manifest.json", manifest)


@dataclass(frozen=True, slots=True)
class _RunState:
    """A run directory before a stage begins: its manifest and configuration, and the stage's earlier record."""

    files: dict[Path, bytes]
    earlier: StageRecord | None

    @classmethod
    def of(cls, directory: Path, name: str) -> "_RunState":
        files = [directory / "manifest.json", directory / "config.yaml"]
        contents = {file: file.read_bytes() for file in files if file.is_file()}
        return cls(contents, read_manifest(directory).stages.get(name))

    def still_holds(self, stage: Stage) -> bool:
        """Whether the earlier record says what is there: nothing was spent since, and its files are as they were."""
        if self.earlier is None or (any(stage.tokens.values()) and stage.tokens != self.earlier.tokens):
            return False
        return all(file.is_unchanged for file in self.earlier.outputs)

    def put_back(self) -> None:
        for file, content in self.files.items():
            write_bytes(file, content)


def lock_file(path: Path, taken: str, todo: str = "wait for it or stop it") -> int:
    """Lock a file for this process and return its descriptor, which holds the lock until it is closed.

    The kernel lets go of it when the process ends, however it ends. Raises RunError: another process holds it, which
    `taken` says and `todo` follows, or the file cannot be written.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as failure:
        raise disk_error(failure, path) from failure
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 20).decode("ascii", "replace").strip()
        os.close(lock)
        named = f" (process {holder})" if holder.isdecimal() else ""
        raise RunError(f"{taken}{named}", where=str(path.parent), todo=todo) from None
    with contextlib.suppress(OSError):  # a full disk; who holds the lock is then not told
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
    return lock


@contextlib.contextmanager
def locked(path: Path, taken: str, todo: str = "wait for it or stop it") -> Iterator[None]:
    """Hold a lock while inside; see `lock_file`."""
    lock = lock_file(path, taken, todo)
    try:
        yield
    finally:
        os.close(lock)


def evaluation_label(name: str, suite: SuiteConfig, evaluate: EvaluateConfig) -> str:
    """The folder below `eval/` for one model on one suite: the model's name, then suite and prompt where several."""
    if len(evaluate.suites) == 1:
        return name
    return f"{name}--{suite.name}--{suite.prompt.replace(':', '-')}"


def evaluation_folder(config: Config, name: str) -> Path:
    """The folder of one model on the first suite."""
    return config.run_dir / "eval" / evaluation_label(name, config.evaluate.suites[0], config.evaluate)


def _check_is_ours(directory: Path) -> None:
    """Raises RunError where the directory is there and is no run."""
    if not os.path.lexists(directory) or os.path.exists(directory / "manifest.json"):
        return
    if not os.path.isdir(directory):
        raise RunError("is a file, not a run directory", where=str(directory), todo="choose another `name`")
    try:
        names = sorted(path.name for path in directory.iterdir())
    except OSError as failure:
        raise unreadable(failure, directory, RunError) from None
    if foreign := [name for name in names if name not in {".lock", "log.txt", "config.yaml", "shards"}]:
        raise RunError(
            f"holds files that are not a pacos run ({foreign[0]}, …)",
            where=str(directory),
            todo="choose another `name` or `runs_dir`",
        )
