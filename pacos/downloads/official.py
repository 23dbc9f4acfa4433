"""`pacos fetch`: official data from its public home at pinned commits, checked before it takes its place.

    fetch("superni", Path("data/superni"))

Single files are known by their git blob ids. SuperNI's are looked up in its commit (published.py); where git cannot be
reached, only names, form and numbers are checked, which is said. A download resumes where it stopped, within a file as
well; a file is complete or absent.
"""

import hashlib
import http.client
import logging
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pacos.downloads.published import blob_ids
from pacos.errors import DataError, PacosError
from pacos.files import disk_error
from pacos.json_text import read_text
from pacos.progress import bar
from pacos.superni.tasks import read_task, read_test_split, read_training_split

log = logging.getLogger("pacos")

HOME = "https://raw.githubusercontent.com"
SELF_INSTRUCT = "yizhongw/self-instruct/0b26ccaa415992100fa32df62d41b994cf928e23"
STANFORD_ALPACA = "tatsu-lab/stanford_alpaca/f13496211289def0ff88ae673389ae14a818b4b3"
NATURAL_INSTRUCTIONS = "allenai/natural-instructions/55a365637381ce7f3748fa2eac7aef1a113bbb82"
GIT_HOME = "https://github.com"

PAUSES_S = (1, 2, 4, 8)
TIMEOUT_S = 60
AT_ONCE = 8

TASK_NAME = re.compile(r"task[A-Za-z0-9_().,&-]{1,150}")

Name = Literal["seeds", "superni", "user-oriented", "alpaca"]
Check = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Pinned:
    """A file whose content is known: its address below `HOME`, and its git blob id."""

    address: str
    blob: str

    @property
    def name(self) -> str:
        """The file's name."""
        return self.address.rpartition("/")[2]


PINNED = {
    "seeds": Pinned(f"{SELF_INSTRUCT}/data/seed_tasks.jsonl", "c97d40d76abd45cd7456f2d0d58459bb4df3cad5"),
    "user-oriented": Pinned(
        f"{SELF_INSTRUCT}/human_eval/user_oriented_instructions.jsonl", "ed6d5d986e3f4c65ff64d70328a2e1dab146f914"
    ),
    "alpaca": Pinned(f"{STANFORD_ALPACA}/alpaca_data.json", "3779ddbc040543ab1834ef216c983d6fcc06cc9a"),
}


@dataclass(frozen=True, slots=True)
class Totals:
    """What SuperNI's folder must hold when it is whole: tasks by split, and test instances by track."""

    test: int = 119
    train: int = 756
    instances: int = 11_810
    xlingual_instances: int = 3_500


def fetch(
    name: Name, out: Path, *, home: str = HOME, training: bool = True, totals: Totals | None = None
) -> list[Path]:
    """Fetch what is not there yet into `out` and return its files; `training=False` leaves out SuperNI's 756.

    Raises DataError: an address that does not answer, content that is not what was published. RunError: a full disk.
    """
    if name == "superni":
        return _fetch_superni(out, home, training, totals or Totals())
    pinned = PINNED[name]
    path = out / pinned.name

    def check(file: Path) -> None:
        if (found := git_blob(file)) != pinned.blob:
            raise DataError(f"is not the published file: git blob {found}, not {pinned.blob}", where=str(file))

    _fetch_file(f"{home}/{pinned.address}", path, check)
    return [path]


def git_blob(path: Path) -> str:
    """The id under which git stores the file's content."""
    digest = hashlib.sha1(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _fetch_superni(out: Path, home: str, training: bool, totals: Totals) -> list[Path]:
    splits = ["default/test_tasks.txt", "default/train_tasks.txt", "xlingual/test_tasks.txt"]
    lists = [out / "splits" / split for split in splits]
    published = _published_blobs()
    for split, path in zip(splits, lists, strict=True):
        check = _checked_as(f"splits/{split}", published, _check_split)
        _fetch_file(f"{home}/{NATURAL_INSTRUCTIONS}/splits/{split}", path, check)
    wanted = [path for path in lists if training or path.name == "test_tasks.txt"]
    tasks = sorted({name for path in wanted for name in read_text(path).split()})
    files = [out / "tasks" / f"{name}.json" for name in tasks]
    with bar("fetching SuperNI", len(files), "tasks") as progress, ThreadPoolExecutor(AT_ONCE) as pool:

        def one(path: Path) -> None:
            check = _checked_as(f"tasks/{path.name}", published, read_task)
            _fetch_file(f"{home}/{NATURAL_INSTRUCTIONS}/tasks/{path.name}", path, check)
            progress.update()

        _all_or_first_error(pool, one, files)
    _check_superni(out, training, totals)
    if published:
        log.info("every file is that of commit %s: its git blob id has been checked", _commit()[1])
    return [*lists, *files]


def _commit() -> tuple[str, str]:
    """SuperNI's repository and commit."""
    repository, _, commit = NATURAL_INSTRUCTIONS.rpartition("/")
    return repository, commit


def _published_blobs() -> dict[str, str]:
    """{path: git blob id} of SuperNI's commit; empty, with a warning, where git cannot tell."""
    repository, commit = _commit()
    try:
        return blob_ids(f"{GIT_HOME}/{repository}", commit, ["splits", "tasks"])
    except DataError as unknown:
        log.warning(
            "SuperNI's texts are not checked against its commit, only names, form and numbers: %s",
            str(unknown).partition("\n")[0],
        )
        return {}


def _checked_as(name: str, published: Mapping[str, str], check: Check) -> Check:
    """`check`, after the file's blob id is found to be that of `name` where the published ones are known."""

    def checked(path: Path) -> None:
        if published and (found := git_blob(path)) != published.get(name):
            raise DataError(f"is not the published {name}: git blob {found}", where=str(path))
        check(path)

    return checked


def _all_or_first_error(pool: ThreadPoolExecutor, work: Callable[[Path], None], files: Sequence[Path]) -> None:
    futures = [pool.submit(work, path) for path in files]
    try:
        for future in futures:
            future.result()
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise


def _check_split(path: Path) -> None:
    names = read_text(path).split()
    if not names:
        raise DataError("is not a list of tasks", where=str(path))
    # Each becomes the name of a file.
    if wrong := [name for name in names if not TASK_NAME.fullmatch(name)]:
        raise DataError(f"is not a list of tasks: {wrong[0][:80]!r} is not the name of one", where=str(path))


def _check_superni(out: Path, training: bool, totals: Totals) -> None:
    """The tracks as they were published; the lists decide which tasks, so a list that has changed shows here."""
    suite, other = read_test_split(out), read_test_split(out / "splits" / "xlingual" / "test_tasks.txt")
    found = {
        "test tasks": (len(suite.files), totals.test),
        "test instances": (len(suite.instances), totals.instances),
        "x-lingual instances": (len(other.instances), totals.xlingual_instances),
    }
    if training:
        found["training tasks"] = (read_training_split(out)[1], totals.train)
    for what, (count, expected) in found.items():
        if count != expected:
            raise DataError(
                f"SuperNI's {what} are {count:,}, not {expected:,}",
                where=str(out),
                todo="delete its splits/ and fetch again",
            )


_AGAIN = "run the same command again; if it stays so, its home has changed"


def _fetch_file(url: str, path: Path, check: Check) -> None:
    """A file that is there and passes is not requested; one that fails is deleted and downloaded again, once."""
    if path.is_file():
        try:
            check(path)
            return
        except PacosError as wrong:
            log.warning("%s; fetching it again", wrong.what)
    part = path.with_name(f".{path.name}.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        if part.is_symlink():
            part.unlink()
    except OSError as failure:
        raise disk_error(failure, path) from failure
    _download(url, part)
    try:
        check(part)
    except PacosError as wrong:
        part.unlink()
        raise DataError(f"what came is not what was published: {wrong.what}", where=url, todo=_AGAIN) from None
    part.replace(path)


def _download(url: str, part: Path) -> None:
    """Bring `part` to its full length, from where it stands. Tries again with growing pauses where that can help."""
    for pause in (*PAUSES_S, None):
        try:
            return _append(url, part)
        except urllib.error.HTTPError as refusal:
            reason = f"HTTP {refusal.code}"
            if refusal.code < 500 and refusal.code != 429:
                raise DataError(f"is not there: {reason}", where=url, todo="check --home") from None
        except (OSError, http.client.HTTPException) as failure:
            reason = str(failure) or type(failure).__name__
        if pause is None:
            raise DataError(f"cannot be fetched: {reason}", where=url, todo="connect, and run the same command again")
        log.warning("%s: %s; trying again in %d s", url, reason, pause)
        time.sleep(pause)


def _no_links(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def _append(url: str, part: Path) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 416:
            raise
        part.unlink()  # all of it was there, or more than there is: from the beginning
        return _append(url, part)
    with answer, open(part, "ab" if answer.status == 206 else "wb", opener=_no_links) as content:
        expected = int(answer.headers.get("Content-Length", -1))
        received = 0
        while block := answer.read(1 << 20):
            try:
                content.write(block)
            except OSError as failure:
                raise disk_error(failure, part) from failure
            received += len(block)
    if received < expected:
        raise ConnectionError(f"the connection ended after {received:,} of {expected:,} bytes")
