"""A folder that caches one safetensors file of arrays, named by a hash of what they were computed from."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pacos.files import disk_error
from pacos.weights import disk_failures

if TYPE_CHECKING:
    import numpy as np


def replace_cache(path: Path, arrays: "Mapping[str, np.ndarray]", metadata: Mapping[str, str] | None = None) -> None:
    """Write the arrays in place of any earlier file of the folder; an interrupted write leaves none.

    Raises RunError as `disk_error` where the file cannot be written.
    """
    from safetensors.numpy import save_file

    temporary = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        with disk_failures():
            save_file(dict(arrays), temporary, metadata=dict(metadata) if metadata else None)
        temporary.replace(path)
    except OSError as failure:
        raise disk_error(failure, path) from failure
