"""Runs a server, or a step of the loop, so that it cannot outlive pacos: `python guard.py RECORD COMMAND …`.

Its stdin is a pipe from pacos. It closes when pacos ends, however it ends, kill -9 included; then every descendant is
stopped. RECORD gets who was started, so that the next run can clear up should the guard itself be killed.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import NoReturn

import psutil

PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 10.0


def main(record: Path, command: list[str]) -> NoReturn:
    """Run a command until it ends or stdin closes, then stop its descendants and exit with its code."""
    # Orphaned grandchildren (vLLM's engine processes) come back to the guard instead of to init.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(stop_descendants()))
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    record.write_text(json.dumps([identity(os.getpid()), identity(server.pid)]), encoding="utf-8")
    threading.Thread(target=_stop_on_eof, daemon=True).start()
    code = server.wait()
    stop_descendants()
    # At once, because the thread above waits at the pipe. A signal's number as a shell gives it.
    os._exit(code if code >= 0 else 128 - code)


def _stop_on_eof() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(stop_descendants())


def stop_descendants() -> int:
    """Stop every descendant of this process; returns 0, the exit code of an orderly stop."""
    stop(psutil.Process().children(recursive=True))
    return 0


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
    except psutil.NoSuchProcess:
        return


def identity(pid: int) -> dict[str, float]:
    """A pid may be used again; together with its start time it names one process."""
    return {"pid": pid, "started": psutil.Process(pid).create_time()}


def reap(record: Path) -> int:
    """Stop what an earlier run left behind; returns how many processes were found alive."""
    try:
        recorded = json.loads(record.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return 0
    leftovers = {}
    for entry in recorded:
        for process in _session(int(entry["pid"]), float(entry["started"])):
            leftovers[process.pid] = process
    stop(list(leftovers.values()))
    record.unlink(missing_ok=True)
    return len(leftovers)


def _session(leader: int, started: float) -> list[psutil.Process]:
    """The processes of the session that `leader` opened at `started`, whether it still lives or not."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid == leader and abs(process.create_time() - started) > 1:
                return []
            if os.getsid(process.pid) == leader and process.create_time() >= started - 1:
                found.append(process)
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
