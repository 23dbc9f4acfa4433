"""What is on the disk itself, and when: an answer counts only once a power cut cannot lose it."""

import asyncio
import os
import threading
from pathlib import Path

import pytest

from pacos.durable import DurableJournal
from pacos.errors import RunError
from pacos.files import read_jsonl, sync_tree, write_text


class Disk:
    """Stands before `os.fsync`: keeps which files were synced, and holds each sync back until `go` is set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.synced: list[tuple[int, int]] = []
        self.go = threading.Event()
        self.go.set()
        real = os.fsync

        def fsync(file: int) -> None:
            self.go.wait(10)
            self.synced.append((os.fstat(file).st_ino, os.fstat(file).st_size))
            real(file)

        monkeypatch.setattr(os, "fsync", fsync)

    def inodes(self) -> set[int]:
        return {inode for inode, _ in self.synced}


def test_a_record_waits_until_the_disk_has_it_and_one_sync_serves_all_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    path = tmp_path / "journal.jsonl"

    async def work() -> None:
        async with DurableJournal(path) as journal:
            await journal.append({"n": -1})
            disk.synced.clear()
            disk.go.clear()
            first = asyncio.ensure_future(journal.append({"n": 0}))
            await asyncio.sleep(0.05)  # its sync has begun
            others = [asyncio.ensure_future(journal.append({"n": n})) for n in range(1, 50)]
            await asyncio.sleep(0.05)
            assert not first.done() and not any(other.done() for other in others)
            disk.go.set()
            await asyncio.gather(first, *others)

    asyncio.run(work())
    assert [row["n"] for _, row in read_jsonl(path)] == list(range(-1, 50))
    whole = path.stat()
    assert len(disk.synced) == 2 and disk.synced[-1] == (whole.st_ino, whole.st_size)


def test_a_new_journals_name_is_on_the_disk_before_its_first_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    DurableJournal(tmp_path / "journal.jsonl").close()
    assert tmp_path.stat().st_ino in disk.inodes()


def test_a_record_is_written_even_if_the_wait_for_the_disk_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)

    async def work() -> None:
        async with DurableJournal(tmp_path / "journal.jsonl") as journal:
            disk.go.clear()
            waiting = asyncio.ensure_future(journal.append({"n": 0}))
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
            disk.go.set()

    asyncio.run(work())
    assert [row for _, row in read_jsonl(tmp_path / "journal.jsonl")] == [{"n": 0}]


def test_a_disk_that_fails_is_told_to_all_that_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> list[object]:
        async with DurableJournal(tmp_path / "journal.jsonl") as journal:

            def fail(file: int) -> None:
                raise OSError(5, "Input/output error")

            monkeypatch.setattr(os, "fsync", fail)
            return list(await asyncio.gather(*[journal.append({"n": n}) for n in range(3)], return_exceptions=True))

    outcomes = asyncio.run(work())
    assert [type(outcome) for outcome in outcomes] == [RunError] * 3
    assert "journal.jsonl: cannot write: Input/output error" in str(outcomes[0])


def test_a_tree_is_synced_with_every_file_and_folder_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "step-8"
    (tree / "state").mkdir(parents=True)
    files = [tree / "COMPLETE", tree / "state" / "weights"]
    for file in files:
        file.write_text("x")
    disk = Disk(monkeypatch)
    sync_tree(tree)
    assert disk.inodes() == {path.stat().st_ino for path in (tree, tree / "state", *files)}


def test_a_tree_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "broken").symlink_to(tmp_path / "nowhere")
    with pytest.raises(RunError, match="cannot write"):
        sync_tree(tmp_path)


def test_a_replaced_files_new_name_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch)
    write_text(tmp_path / "a.json", "new")
    assert disk.inodes() == {(tmp_path / "a.json").stat().st_ino, tmp_path.stat().st_ino}
