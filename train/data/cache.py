"""Caches: safetensors files of arrays, each named by a hash of what they were computed from."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pacos.files import disk_error
from pacos.weights import disk_failures

if TYPE_CHECKING:
    import numpy as np


def write_cache(
    path: Path,
    arrays: "Mapping[str, np.ndarray]",
    metadata: Mapping[str, str] | None = None,
    *,
    replaces: bool = True,
) -> None:
    """Write the arrays to a new file, in place of any other file of the folder if it `replaces`; an interrupted write
    leaves none.

    Without `replaces` several processes may write at once. Raises RunError as `disk_error` where that cannot be done.
    """
    from safetensors.numpy import save_file

    temporary = path.with_name(f".{secrets.token_hex(8)}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if replaces:
            for old in path.parent.iterdir():
                old.unlink()
        with disk_failures():
            save_file(dict(arrays), temporary, metadata=dict(metadata) if metadata else None)
        temporary.replace(path)
    except OSError as failure:
        temporary.unlink(missing_ok=True)
        raise disk_error(failure, path) from failure
