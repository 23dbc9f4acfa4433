"""Runs servers, steps of the loop and trainings under `guard.py`, and stops what an ended pacos left behind."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

import psutil

from pacos.serving import guard

log = logging.getLogger("pacos")

# Names of the guards' records in a run directory.
SERVER_RECORD, STEP_RECORD, TRAINING_RECORD = RECORDS = ("engine.json", "step.json", "launch.json")


def start(
    record: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    *,
    scratch: Path | None = None,
    output: IO[bytes] | None = None,
) -> "subprocess.Popen[bytes]":
    """Start a guarded command, after what an earlier one left behind is stopped; `finish` ends it.

    `environment` is added to this process's. `scratch` is a folder that is deleted should this process be killed;
    `output` takes stdout and stderr, which are inherited otherwise.
    """
    stop_left_over(record)
    options = ["--scratch", str(scratch)] if scratch else []
    return subprocess.Popen(
        # -P: the guard's folder has modules that are named as others are.
        [sys.executable, "-P", guard.__file__, *options, str(record), *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=subprocess.STDOUT if output else None,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def finish(process: "subprocess.Popen[bytes]", record: Path) -> int:
    """Stop a guarded command, if it still runs, and wait until all of it is gone; returns its exit code."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        code = process.wait(timeout=3 * guard.GRACE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    if code < 0:  # the guard was killed, and stopped nothing
        reap(record)
    _remove(record)
    return code


def run(record: Path, command: Sequence[str], environment: Mapping[str, str], *, scratch: Path | None = None) -> int:
    """Run a guarded command to its end, or until this process is interrupted; returns its exit code."""
    process = start(record, command, environment, scratch=scratch)
    try:
        return process.wait()
    except KeyboardInterrupt:
        print(file=sys.stderr)  # ends the line of a progress bar that nobody is left to close
        raise
    finally:
        finish(process, record)


def stop_left_over(record: Path) -> None:
    """As `reap`, and log it."""
    if reaped := reap(record):
        log.warning("stopped %d process(es) that an earlier run had left behind", reaped)


def reap(record: Path) -> int:
    """Stop what an ended pacos left behind, and return how many processes that were.

    Nothing is stopped, and nothing raised, for a record that is damaged, forged, of another boot, or whose owner lives.
    """
    left = guard.read_record(record)
    if left is None or not left.is_left_over():
        return 0
    stopped = guard.stop_all(lambda: marked(left.mark, left.started))
    _remove(record)
    return stopped


def marked(mark: str, since: float) -> list[psutil.Process]:
    """This user's processes that carry the mark and started after `since`; never this process or one above it."""
    spared = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.pid not in spared and process.uids().real == os.getuid()
            if ours and process.environ().get(guard.MARK) == mark and (guard.start_time(process.pid) or -1.0) >= since:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _remove(record: Path) -> None:
    """Remove the record; what is in its place and no file of ours stays."""
    try:
        record.unlink(missing_ok=True)
    except OSError:
        return
