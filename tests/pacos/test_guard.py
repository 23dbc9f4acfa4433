import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pacos.serving import guard, guarded

# A server whose worker opens a session of its own and ignores SIGTERM, as a stuck engine would, and which changes its
# title, as vLLM's processes do.
SERVER = """
import signal, subprocess, sys, time
try:
    from setproctitle import setproctitle
except ImportError:  # it comes with vLLM
    setproctitle = str
if "worker" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    subprocess.Popen([sys.executable, __file__, "worker"], start_new_session=True)
setproctitle("a title that is longer than the command line is, and would take some of what lies behind it")
time.sleep(600)
"""
# Stands for pacos: starts the guard, then waits to be killed.
OWNER = """
import subprocess, sys, time
subprocess.Popen([sys.executable, *sys.argv[1:]], stdin=subprocess.PIPE)
time.sleep(600)
"""


def start_owner(record: Path, *options: str) -> tuple["subprocess.Popen[bytes]", list[psutil.Process]]:
    """The owner, and its descendants once all are up: guard, server, worker."""
    server = record.with_name("server.py")
    server.write_text(SERVER, encoding="utf-8")
    arguments = [guard.__file__, *options, str(record), sys.executable, str(server)]
    owner = subprocess.Popen([sys.executable, "-c", OWNER, *arguments])
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        family = psutil.Process(owner.pid).children(recursive=True)
        if len(family) == 3 and record.exists():
            time.sleep(1)  # the worker's signal handler
            return owner, family
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def wait_gone(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    return psutil.wait_procs(processes, timeout=timeout)[1]


@pytest.fixture
def bystander() -> Iterator["subprocess.Popen[bytes]"]:
    """A process of this user that pacos did not start, the leader of its session."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def left_over(**changes: Any) -> dict[str, Any]:
    """The record of a guard whose owner is gone, with changes."""
    return {"boot": guard.boot_id(), "mark": "a" * 32, "started": 1.0, "owner": 2**30, "owner_started": 1.0, **changes}


def test_kill_9_of_the_owner_takes_server_workers_and_scratch_along(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    owner, family = start_owner(tmp_path / "engine.json", "--scratch", str(tmp_path / "scratch"))
    owner.kill()
    owner.wait()
    assert not wait_gone(family, 3 * guard.GRACE_S)
    assert not (tmp_path / "scratch").exists()


def test_what_a_killed_guard_left_behind_is_reaped_at_the_next_start(tmp_path: Path) -> None:
    record = tmp_path / "engine.json"
    owner, family = start_owner(record)
    guardian = next(process for process in family if guard.__file__ in process.cmdline())
    guardian.kill()
    owner.kill()
    owner.wait()
    assert guarded.reap(record) >= 1  # the worker at least: it is in a session of its own, and ignores its parent's end
    assert not wait_gone(family, 5) and not record.exists()


def test_what_a_living_owner_runs_is_not_reaped(tmp_path: Path) -> None:
    record = tmp_path / "engine.json"
    owner, family = start_owner(record)
    try:
        assert guarded.reap(record) == 0
        assert all(process.is_running() for process in family) and record.exists()
    finally:
        for process in family:
            process.kill()
        owner.kill()
        owner.wait()


@pytest.mark.parametrize("mark", ["", "b" * 31, "*", "PATH"])
def test_a_forged_record_reaches_no_process_that_pacos_did_not_start(
    tmp_path: Path, bystander: "subprocess.Popen[bytes]", mark: str
) -> None:
    record, pid = tmp_path / "engine.json", bystander.pid
    forged: list[Any] = [
        [{"pid": pid, "started": 1.0}],
        [{"pid": pid, "started": psutil.Process(pid).create_time()}],
        left_over(mark=mark, pid=pid),
        left_over(mark=mark),
        left_over(owner=pid),
    ]
    for values in forged:
        record.write_text(json.dumps(values), encoding="utf-8")
        assert guarded.reap(record) == 0
    assert bystander.poll() is None


def test_a_process_with_the_mark_is_left_alone_if_the_record_is_of_another_boot_or_later_time(tmp_path: Path) -> None:
    record, mark = tmp_path / "engine.json", "c" * 32
    program = [sys.executable, "-c", "import time; time.sleep(60)"]
    marked = subprocess.Popen(program, env={guard.MARK: mark})
    try:
        for changes in ({"boot": "another"}, {"started": 1e300}):
            record.write_text(json.dumps(left_over(mark=mark, **changes)), encoding="utf-8")
            assert guarded.reap(record) == 0
        assert marked.poll() is None
        record.write_text(json.dumps(left_over(mark=mark)), encoding="utf-8")
        assert guarded.reap(record) == 1
        assert marked.poll() is not None
    finally:
        marked.kill()
        marked.wait()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[1]",
        b"null",
        b"\xff",
        b'[{"pid": 5}]',
        b'[{"pid": "x", "started": 1}]',
        b"[" * 100_000,
        json.dumps(left_over(started="1")).encode(),
        json.dumps(left_over(started=float("nan"))).encode(),
        json.dumps(left_over(started=True)).encode(),
        json.dumps(left_over(owner=-1)).encode(),
        json.dumps(left_over(owner=10**30)).encode(),
        json.dumps(left_over(mark=["a" * 32])).encode(),
        json.dumps(left_over(boot=None)).encode(),
    ],
)
def test_a_damaged_record_is_passed_over(tmp_path: Path, content: bytes) -> None:
    record = tmp_path / "engine.json"
    record.write_bytes(content)
    assert guarded.reap(record) == 0


def test_a_record_that_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    assert [guarded.reap(tmp_path / name) for name in ("pipe", "folder", "link", "absent")] == [0, 0, 0, 0]


def test_a_guard_that_cannot_write_its_record_says_so_and_starts_nothing(tmp_path: Path) -> None:
    started = tmp_path / "started"
    record = tmp_path / "absent" / "engine.json"
    process = guarded.start(record, [sys.executable, "-c", f"open({str(started)!r}, 'w')"], {})
    assert process.wait(60) == guard.CANNOT_START
    assert not started.exists()
    again = subprocess.run(
        [sys.executable, guard.__file__, str(record), "true"], stdin=subprocess.PIPE, capture_output=True, text=True
    )
    assert again.stderr == f"pacos: {record}: cannot write: No such file or directory; nothing was started\n"


def test_the_record_is_there_before_the_command_and_gone_after_it(tmp_path: Path) -> None:
    record, seen = tmp_path / "step.json", tmp_path / "seen"
    copy = f"import shutil; shutil.copy({str(record)!r}, {str(seen)!r}); raise SystemExit(7)"
    assert guarded.run(record, [sys.executable, "-c", copy], {}) == 7
    assert guard.read_record(seen) and not record.exists()


def test_a_link_in_the_place_of_the_record_is_not_written_through(tmp_path: Path) -> None:
    target, record = tmp_path / "thesis.tex", tmp_path / "step.json"
    target.write_text("mine", encoding="utf-8")
    record.symlink_to(target)
    assert guarded.run(record, ["true"], {}) == 0
    assert target.read_text(encoding="utf-8") == "mine"
