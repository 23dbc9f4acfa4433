"""A novelty index on disk: a folder of arrays that are mapped into memory, so that nothing is indexed anew."""

import json
import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacos.files import disk_error, file_sha256
from pacos.novelty.arrays import prefixed, under
from pacos.novelty.index import NoveltyIndex

log = logging.getLogger("pacos")

# Changes whenever the arrays mean something else.
_FORMAT = 2

_INDEX, _OTHERS = "index", "others"


def save_index(index: NoveltyIndex, folder: Path, about: dict[str, Any], others: Mapping[str, NDArray[Any]]) -> None:
    """Write an index, what it is `about` (JSON) and `others` as `folder`: whole, or not at all. An older folder is
    replaced.

    Raises RunError where that cannot be done.
    """
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)  # what a killed session left
    try:
        new.mkdir(parents=True)
        for name, values in {**prefixed(_INDEX, index.arrays()), **prefixed(_OTHERS, others)}.items():
            np.save(new / f"{name}.npy", values, allow_pickle=False)
        files = {file.name: file_sha256(file) for file in sorted(new.iterdir())}
        snapshot = json.dumps({"format": _FORMAT, "about": about, "files": files})
        (new / "snapshot.json").write_text(snapshot, encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        new.rename(folder)
    except OSError as failure:
        shutil.rmtree(new, ignore_errors=True)
        raise disk_error(failure, folder) from failure


def read_about(folder: Path) -> dict[str, Any] | None:
    """What a snapshot is about; None where there is none, or one that is damaged."""
    found = _read(folder)
    return found["about"] if found else None


def load_index(index: NoveltyIndex, folder: Path) -> dict[str, NDArray[Any]] | None:
    """Fill an empty index from a snapshot, and return the other arrays; None, and said, where it is damaged: the index
    is not to be used then."""
    found = _read(folder)
    if not found:
        return None
    try:
        if any(file_sha256(folder / name) != sha256 for name, sha256 in found["files"].items()):
            raise ValueError("a file is not what was written")
        names = [name.removesuffix(".npy") for name in found["files"]]
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names}
        index.restore(under(_INDEX, arrays))
    except (OSError, ValueError, KeyError) as damage:
        log.warning("%s: the index is damaged (%s) and is made anew", folder, damage)
        return None
    return under(_OTHERS, arrays)


def _read(folder: Path) -> dict[str, Any] | None:
    path = folder / "snapshot.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["format"] != _FORMAT:
            log.info("%s: the index is of another version and is made anew", folder)
            return None
        return {"about": dict(found["about"]), "files": {str(name): str(sha) for name, sha in found["files"].items()}}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as damage:
        log.warning("%s: the index is damaged (%s) and is made anew", path, damage)
        return None
