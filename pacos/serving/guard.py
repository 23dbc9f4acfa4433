"""Runs a server, a step of the loop or a training so that it cannot outlive pacos: `python guard.py RECORD COMMAND …`.

The guard's stdin is a pipe from pacos. It closes when pacos ends, however it ends, kill -9 included; then every
descendant is stopped. Should the guard itself be killed, RECORD tells the next run what to stop: the processes of this
boot that carry a random mark in their environment. A record can name nothing else, whoever wrote it.

This file runs by its path, in a process that may not find pacos: it imports nothing of it.
"""

import argparse
import ctypes
import dataclasses
import json
import math
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import psutil

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
GRACE_S = 10.0
# Looks for processes that were started while others were being stopped.
ROUNDS = 5
CANNOT_START = 73  # the guard's exit code where it started nothing; its reason is on stderr
MARK = "PACOS_GUARD_MARK"
LARGEST_RECORD = 4096


@dataclasses.dataclass(frozen=True, slots=True)
class Record:
    """What the next run needs: who was started, and whether the pacos that did is still there.

    Times are ticks since boot on Linux, seconds since the epoch elsewhere: comparable within one boot.
    """

    boot: str
    mark: str
    started: float
    owner: int
    owner_started: float

    def is_valid(self) -> bool:
        """Whether every value is of its type and form."""
        times = (self.started, self.owner_started)
        return (
            isinstance(self.boot, str)
            and isinstance(self.mark, str)
            and re.fullmatch("[0-9a-f]{32}", self.mark) is not None
            and all(type(time) in (int, float) and math.isfinite(time) for time in times)
            and type(self.owner) is int
            and 0 < self.owner < 2**31
        )

    def is_left_over(self) -> bool:
        """Whether it is of this boot, and its owner is this process or gone."""
        if self.boot != boot_id():
            return False
        return self.owner == os.getpid() or start_time(self.owner) != self.owner_started


def main(record: Path, command: list[str], scratch: Path | None) -> NoReturn:
    """Run a command until it ends or stdin closes, then stop its descendants and exit with its code.

    `scratch` is a folder that is deleted where pacos cannot do it any more. Exits with CANNOT_START where the record
    cannot be written.
    """
    if sys.platform == "linux":
        # Orphaned grandchildren (vLLM's engine processes) come back to the guard instead of to init.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)

    owner_is_gone = threading.Event()

    def end(code: int) -> NoReturn:
        stop_all(lambda: psutil.Process().children(recursive=True))
        if scratch and owner_is_gone.is_set():
            shutil.rmtree(scratch, ignore_errors=True)
        # At once, because a thread waits at the pipe.
        os._exit(code)

    def end_with_owner() -> None:
        while sys.stdin.buffer.read(1):
            pass
        owner_is_gone.set()
        end(0)

    signal.signal(signal.SIGTERM, lambda *_: end(0))
    mark = secrets.token_hex(16)
    # SPT_NOENV: a process that changes its title, as vLLM's do, would write over its environment, and the mark.
    environment = os.environ | {MARK: mark, "SPT_NOENV": "1"}
    try:
        write_record(record, mark)
    except OSError as failure:
        print(f"pacos: {record}: cannot write: {failure.strerror}; nothing was started", file=sys.stderr, flush=True)
        end(CANNOT_START)
    server = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env=environment,
        preexec_fn=die_with_parent,  # should the guard be killed
    )
    threading.Thread(target=end_with_owner, daemon=True).start()
    code = server.wait()
    end(code if code >= 0 else 128 - code)  # a signal's number as a shell gives it


def stop_all(find: Callable[[], list[psutil.Process]]) -> int:
    """Stop the processes that are found, again and again until none is; returns how many there were."""
    stopped = set()
    for _ in range(ROUNDS):
        if not (found := [process for process in find() if start_time(process.pid) is not None]):
            break
        stopped |= {process.pid for process in found}
        stop(found)
    return len(stopped)


def stop(processes: list[psutil.Process]) -> None:
    """Ask all to end, wait up to GRACE_S, kill the rest."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(processes, timeout=GRACE_S)
    for process in alive:
        _signal(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=GRACE_S)


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return


def die_with_parent() -> None:
    """Have this process ended (SIGTERM) when its parent ends; only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def write_record(record: Path, mark: str) -> None:
    """Write the guard's record, whole or not at all, through no link. Raises OSError."""
    owner = os.getppid()
    values = Record(boot_id(), mark, start_time(os.getpid()) or 0.0, owner, start_time(owner) or 0.0)
    temporary = record.with_name(f".{record.name}.{mark}")
    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with open(file, "wb") as content:
            content.write(json.dumps(dataclasses.asdict(values)).encode())
            content.flush()
            os.fsync(file)
        temporary.replace(record)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_record(record: Path) -> Record | None:
    """The record, or None where there is none or it is no record of ours."""
    try:
        # Not to wait at a pipe, nor to follow a link, that somebody put there.
        file = os.open(record, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(file, "rb") as content:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return None
            values = json.loads(content.read(LARGEST_RECORD))
        found = Record(**values)
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    return found if found.is_valid() else None


def boot_id() -> str:
    """What tells this boot of this machine from every other."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return str(int(psutil.boot_time()))


def start_time(pid: int) -> float | None:
    """When a process started, in Record's unit; with its pid, that names it for as long as the machine runs. None for
    one that has ended."""
    if sys.platform != "linux":
        try:
            return psutil.Process(pid).create_time()
        except psutil.Error:
            return None
    try:
        # Behind the name, which may hold anything: state is the first field, start time the twentieth.
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else float(fields[19])


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("record", type=Path)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    main(asked.record, asked.command, asked.scratch)
