"""A pool that begins where an earlier session left it writes what judging every answer again writes."""

import json
import logging
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from pacos.config import FiltersConfig
from pacos.generate import pool_snapshot
from pacos.generate.pool import Pool
from pacos.generate.pool_snapshot import Earlier
from pacos.records import Response

FILES = ("dataset.jsonl", "rejected.jsonl")


@pytest.fixture(autouse=True)
def early_snapshots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_snapshot, "EVERY", 20)


def answers(count: int) -> dict[int, Response]:
    """Lists of three, with near copies among them and some that are too short."""
    draw = random.Random(3)
    texts = [" ".join(f"word{draw.randrange(70)}" for _ in range(draw.choice((2, 6, 8)))) for _ in range(3 * count)]
    texts = [text + " more" if number % 5 else texts[number // 2] + " more" for number, text in enumerate(texts)]
    items = [f" {text}\n4. Input:\n<noinput>\n4. Output:\nAnswer.\n" for text in texts]
    lists = ["###\n4. Instruction:".join(items[first : first + 3]) for first in range(0, len(items), 3)]
    return {request: Response(request, text, "stop", completion_tokens=9) for request, text in enumerate(lists)}


def opened(
    folder: Path,
    journal: dict[int, Response],
    filters: FiltersConfig | None = None,
    target: int = 10_000,
    limits: object = None,
) -> Pool:
    return Pool(folder, [], filters or FiltersConfig(), target, earlier=Earlier(journal, limits))


def committed(folder: Path, journal: dict[int, Response], upto: int) -> Pool:
    with opened(folder, journal) as pool:
        for request in range(len(pool.sizes), upto):
            pool.commit_answer(journal[request])
    return pool


def test_the_files_and_counts_are_those_of_one_session(tmp_path: Path) -> None:
    journal = answers(60)
    whole = committed(tmp_path / "whole", journal, 60)
    assert whole.tally.rejected["novelty"] and whole.tally.rejected["too_short"]
    first = committed(tmp_path / "parts", journal, 35)
    # What was written after the last snapshot, by a session that was killed, is written again.
    with (tmp_path / "parts" / "dataset.jsonl").open("a", encoding="utf-8") as rows:
        rows.write('{"instruction": "not this one"}\n')
    second = opened(tmp_path / "parts", journal)
    assert len(second.sizes) == 35 and second.accepted == first.accepted and second.count == first.count
    with second:
        for request in range(35, 60):
            second.commit_answer(journal[request])
    assert second.accepted == whole.accepted and second.tally == whole.tally
    for name in FILES:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_kill_loses_only_what_came_after_the_last_snapshot(tmp_path: Path) -> None:
    journal = answers(60)
    killed = opened(tmp_path / "killed", journal)
    for request in range(48):
        killed.commit_answer(journal[request])
    # No exit: the last snapshot is one of those written on the way.
    again = committed(tmp_path / "killed", journal, 60)
    assert 30 < len(again.sizes) < 48
    committed(tmp_path / "whole", journal, 60)
    for name in FILES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def edit_row(folder: Path) -> None:
    path = folder / "dataset.jsonl"
    path.write_bytes(path.read_bytes().replace(b"Answer.", b"Edited.", 1))


def shorten(folder: Path) -> None:
    path = folder / "rejected.jsonl"
    path.write_bytes(path.read_bytes()[:-5])


def damage_array(folder: Path) -> None:
    path = folder / ".novelty" / "index_ranks.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"x")


def lose_array(folder: Path) -> None:
    (folder / ".novelty" / "others_nearest.npy").unlink()


def leave_out(name: str) -> Callable[[Path], None]:
    """A snapshot that is whole but for an array that was never written: it fails when it is restored."""

    def damage(folder: Path) -> None:
        path = folder / ".novelty" / "snapshot.json"
        snapshot = json.loads(path.read_text(encoding="utf-8"))
        del snapshot["files"][f"{name}.npy"]
        path.write_text(json.dumps(snapshot), encoding="utf-8")

    return damage


def damage_about(folder: Path) -> None:
    (folder / ".novelty" / "snapshot.json").write_text('{"format": 1, "about": {"commits": "many"}, "files": {}}')


def other_format(folder: Path) -> None:
    path = folder / ".novelty" / "snapshot.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"format": 0}), encoding="utf-8")


LATE = [leave_out(name) for name in ("index_postings_shifts", "others_nearest", "others_sizes")]


@pytest.mark.parametrize("damage", [edit_row, shorten, damage_array, lose_array, damage_about, other_format, *LATE])
def test_a_damaged_snapshot_is_made_anew_and_said(
    tmp_path: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    journal = answers(40)
    committed(tmp_path / "whole", journal, 40)
    committed(tmp_path / "run", journal, 30)
    damage(tmp_path / "run")
    with caplog.at_level(logging.INFO, "pacos"):
        assert list(committed(tmp_path / "run", journal, 40).sizes) == []
    assert "made anew" in caplog.text
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(opened(tmp_path / "run", journal).sizes) == 40, "the snapshot that was made anew fits"


def test_a_file_that_cannot_be_cut_has_the_tasks_judged_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = answers(40)
    committed(tmp_path / "whole", journal, 40)
    committed(tmp_path / "run", journal, 30)
    real_open = Path.open
    monkeypatch.setattr(
        Path, "open", lambda path, mode="r", **more: denied() if mode == "r+b" else real_open(path, mode, **more)
    )
    assert list(committed(tmp_path / "run", journal, 40).sizes) == []
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_what_a_killed_session_left_of_a_snapshot_is_removed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    left = tmp_path / ".novelty.new"
    left.mkdir()
    (left / "index_ranks.npy").write_bytes(b"half")
    committed(tmp_path, answers(40), 40)
    assert "could not be saved" not in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == [".novelty", *FILES]
    assert len(opened(tmp_path, answers(40)).sizes) == 40


def test_other_answers_or_filters_are_judged_anew(tmp_path: Path) -> None:
    journal = answers(40)
    committed(tmp_path, journal, 40)
    assert len(opened(tmp_path, journal).sizes) == 40
    assert list(opened(tmp_path, journal, FiltersConfig(novelty=0.6)).sizes) == []
    committed(tmp_path, journal, 40)
    assert list(opened(tmp_path, journal | {7: Response(7, "another", "stop")}).sizes) == []
    committed(tmp_path, journal, 40)
    assert list(opened(tmp_path, journal, limits={"requests": 3}).sizes) == []


def test_a_full_pool_goes_on_with_a_larger_target(tmp_path: Path) -> None:
    journal = answers(60)
    whole = committed(tmp_path / "whole", journal, 60)
    full = opened(tmp_path / "run", journal, target=50)
    with full:
        for answer in journal.values():
            if not full.is_full:
                full.commit_answer(answer)
    assert full.count == 50
    again = opened(tmp_path / "run", journal, target=50)
    with again:
        for request in range(len(again.sizes), 60):
            if not again.is_full:
                again.commit_answer(journal[request])
    assert len(again.sizes) > 5
    assert (tmp_path / "run" / "dataset.jsonl").read_bytes().count(b"\n") == 50
    larger = committed(tmp_path / "run", journal, 60)
    assert larger.count == whole.count and len(larger.sizes) > 5
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert list(opened(tmp_path / "run", journal, target=20).sizes) == []


def test_a_commit_that_fails_halfway_is_in_no_snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = answers(60)
    committed(tmp_path / "whole", journal, 60)
    pool = opened(tmp_path / "run", journal)
    with pytest.raises(OSError, match="full"), pool:
        for request in range(20):
            pool.commit_answer(journal[request])
        monkeypatch.setattr(pool, "write_row", fail)
        for request in range(20, 30):
            pool.commit_answer(journal[request])
    assert 0 < len(committed(tmp_path / "run", journal, 60).sizes) <= 20
    for name in FILES:
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_snapshot_that_cannot_be_written_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / ".novelty").write_text("a file of this name", encoding="utf-8")
    committed(tmp_path, answers(30), 30)
    assert "resuming will take longer" in caplog.text
    assert (tmp_path / "dataset.jsonl").stat().st_size > 0


def denied() -> None:
    raise PermissionError("read-only")


def fail(*_: object) -> None:
    raise OSError("the disk is full")
