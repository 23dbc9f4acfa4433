"""Which contents a git commit has: the blob id of every file, from git itself.

A commit's id is a digest of all of it: git checks every object that it fetches against its id, so a file whose blob id
is the one found here is the file of that commit, wherever it came from. Only the names are fetched, not the contents.
"""

import os
import subprocess
import tempfile
from collections.abc import Sequence

from pacos.errors import DataError

# Seconds for a step of git: names of thousands of files take some.
PATIENCE_S = 300


def blob_ids(address: str, commit: str, folders: Sequence[str]) -> dict[str, str]:
    """{path: blob id} of the files below some folders of a commit in the repository at `address`.

    Raises DataError where there is no git, or the commit cannot be fetched.
    """
    with tempfile.TemporaryDirectory(prefix="pacos-names-") as scratch:
        _git(scratch, "init", "--quiet", "--bare")
        _git(scratch, "remote", "add", "origin", address)
        _git(scratch, "fetch", "--quiet", "--no-tags", "--depth=1", "--filter=blob:none", "origin", commit)
        listed = _git(scratch, "ls-tree", "-r", "-z", commit, "--", *folders)
    found = {}
    for entry in listed.split("\0"):
        if entry:
            kind, _, path = entry.partition("\t")
            found[path] = kind.split(" ")[2]
    return found


def _git(folder: str, *words: str) -> str:
    where = "git " + " ".join(words[:1])
    # Never a question on the terminal, and no repository but this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "GIT_DIR": folder}
    try:
        answer = subprocess.run(
            ["git", *words],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=PATIENCE_S,
            check=False,
        )
    except FileNotFoundError:
        raise DataError("there is no git", where=where, todo="install git") from None
    except subprocess.TimeoutExpired:
        raise DataError(f"no answer within {PATIENCE_S} s", where=where) from None
    if answer.returncode:
        lines = answer.stderr.strip().splitlines() or ["failed"]
        raise DataError(lines[-1], where=where)
    return answer.stdout
