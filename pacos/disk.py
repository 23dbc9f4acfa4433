"""What the disk has to say: errors of writes, and the wait until what was written is on the disk itself."""

import errno
import os
from pathlib import Path

from pacos.errors import RunError


def disk_error(failure: OSError, path: Path, *, doing: str = "write") -> RunError:
    """The error of a write that failed, or of what else was being done, with what to do about it."""
    if failure.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            "the disk is full; everything written before is whole",
            where=str(path),
            todo="make space and rerun the same command: it resumes",
        )
    todo = {
        errno.ENOTDIR: "a file has the name of a folder above it: choose another folder",
        errno.EEXIST: "a file has the name of its folder: choose another folder",
        errno.EISDIR: "a folder has this name: choose another",
        errno.ENAMETOOLONG: "choose a shorter name",
        errno.ELOOP: "it is a link, and pacos does not write through links: remove it",
    }.get(failure.errno or 0, "check the folder's rights")
    return RunError(f"cannot {doing}: {failure.strerror or failure}", where=str(path), todo=todo)


def open_to_append(path: Path) -> int:
    """The descriptor of a file to append to, made if absent; never through a link, which may point to anything.

    Raises RunError.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    except OSError as failure:
        raise disk_error(failure, path) from failure


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk itself, after one was added or renamed. Raises OSError."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError as failure:
        if failure.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems sync names by themselves
            raise
    finally:
        os.close(folder)


def sync_tree(path: Path) -> None:
    """Wait until a folder, and all files and folders in it, are on the disk itself: before it gets its final name.

    Raises RunError where the disk fails, or is full: some file systems tell only now.
    """
    try:
        for folder, _, files in os.walk(path):
            for name in files:
                file = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                try:
                    os.fsync(file)
                finally:
                    os.close(file)
            sync_folder(Path(folder))
    except OSError as failure:
        raise disk_error(failure, path) from failure
