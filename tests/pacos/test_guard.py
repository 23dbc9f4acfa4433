import subprocess
import sys
import time
from pathlib import Path

import psutil

from pacos.serving import guard

# A server whose worker opens a session of its own and ignores SIGTERM, as a stuck engine would.
SERVER = """
import signal, subprocess, sys, time
worker = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", worker], start_new_session=True)
time.sleep(600)
"""
# Stands for pacos: starts the guard, then waits to be killed.
OWNER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
time.sleep(600)
"""


def start_owner(record: Path) -> tuple[subprocess.Popen[bytes], list[psutil.Process]]:
    """The owner, and its descendants once all are up: guard, server, worker."""
    arguments = [guard.__file__, str(record), sys.executable, "-c", SERVER]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *arguments])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        family = psutil.Process(owner.pid).children(recursive=True)
        if len(family) == 3 and record.exists():
            time.sleep(0.5)  # the worker's signal handler
            return owner, family
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def wait_gone(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=timeout)[1]


def test_kill_9_of_the_owner_takes_server_and_workers_along(tmp_path: Path) -> None:
    owner, family = start_owner(tmp_path / "engine.json")
    owner.kill()
    owner.wait()
    assert not wait_gone(family, 2 * guard.GRACE_S)


def test_what_a_killed_guard_left_behind_is_reaped_at_the_next_start(tmp_path: Path) -> None:
    record = tmp_path / "engine.json"
    owner, family = start_owner(record)
    guardian = next(process for process in family if guard.__file__ in process.cmdline())
    server = [process for process in family if process.pid != guardian.pid]
    guardian.kill()
    owner.kill()
    owner.wait()
    assert all(process.is_running() for process in server)
    assert guard.reap(record) >= 1
    leftover = wait_gone(server[:1], 5)
    for process in family:  # a worker in a session of its own is out of the record's reach
        if process.is_running():
            process.kill()
    assert not leftover and not record.exists()


def test_a_process_that_got_the_same_pid_later_is_left_alone(tmp_path: Path) -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    record = tmp_path / "engine.json"
    record.write_text(f'[{{"pid": {bystander.pid}, "started": 1.0}}]', encoding="utf-8")
    try:
        assert guard.reap(record) == 0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()
