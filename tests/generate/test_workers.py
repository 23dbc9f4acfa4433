"""`pacos filter` and `pacos curate` with several processes write what one writes, byte for byte."""

import json
import multiprocessing
import os
import random
import signal
from pathlib import Path

import pytest

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import OtherForm, RunError
from pacos.files import write_jsonl
from pacos.generate import judging, rounds
from pacos.generate.curate import curate, filter_file
from pacos.generate.worker_processes import worker_processes
from pacos.records import Task

FILES = ("dataset.jsonl", "rejected.jsonl", "stats.json")


def instructions(draw: random.Random, count: int) -> list[str]:
    """Sentences of a small vocabulary, some too short, many near copies of ones just before or long before."""
    texts: list[str] = []
    for _ in range(count):
        words = [f"word{draw.randrange(60)}" for _ in range(draw.choice((2, 5, 7, 9)))]
        if texts and draw.random() < 0.5:
            words = draw.choice(texts[-20:] if draw.random() < 0.5 else texts).split()
            words[draw.randrange(len(words))] = f"word{draw.randrange(60)}"
        texts.append(" ".join(words))
    return texts


@pytest.fixture
def small_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near copies in the round before, in the same, and in older ones, also of those that are forgotten here."""
    monkeypatch.setattr(judging, "PER_WORKER", 8)
    monkeypatch.setattr(judging, "ANSWERS_PER_WORKER", 2)
    monkeypatch.setattr(rounds, "RECENT", 20)


def test_filter_with_two_processes_writes_the_same_files(tmp_path: Path, small_rounds: None) -> None:
    rows = [{"instruction": text, "input": "", "output": "Yes."} for text in instructions(random.Random(1), 400)]
    rows[17] = {"instruction": "no output"}
    write_jsonl(tmp_path / "tasks.jsonl", rows)
    seeds = tmp_path / "seeds.jsonl"
    write_jsonl(
        seeds,
        [
            {
                "id": "s1",
                "name": "seed",
                "is_classification": False,
                "instruction": rows[40]["instruction"],
                "instances": [{"input": "", "output": "Yes."}],
            }
        ],
    )
    for workers in (1, 2):
        stats = filter_file(tmp_path / "tasks.jsonl", tmp_path / str(workers), seeds, FiltersConfig(), workers)
    assert stats.funnel.items == 400 and stats.funnel.rejected["novelty"] > 100 and stats.funnel.accepted > 50
    for name in FILES:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()
    assert sorted(file.name for file in (tmp_path / "2").iterdir()) == sorted(FILES)


def test_curate_with_two_processes_stops_at_the_same_task(tmp_path: Path, small_rounds: None) -> None:
    texts = iter(instructions(random.Random(2), 1000))
    answers = []
    for request in range(80):
        items = [f" {next(texts)}\n4. Input:\n<noinput>\n4. Output:\nAnswer.\n" for _ in range(request % 6)]
        answers.append({"request": request, "text": "###\n4. Instruction:".join(items), "finish_reason": "stop"})
    write_jsonl(tmp_path / "in" / "responses.jsonl", answers)
    for target in (1, 37, 100_000):
        for workers in (1, 2):
            out = tmp_path / f"{target}-{workers}"
            accepted = curate(
                tmp_path / "in" / "responses.jsonl", out, GenerateConfig(target=target), workers
            ).funnel.accepted
        assert accepted == target or (target == 100_000 and accepted > 37)
        for name in FILES:
            assert (tmp_path / f"{target}-1" / name).read_bytes() == (tmp_path / f"{target}-2" / name).read_bytes()


def test_a_worker_that_is_killed_is_a_clear_error() -> None:
    with worker_processes(1, FiltersConfig(), whole_tasks=True) as workers:
        workers.judge([Task("Name a river of Asia.", "", "Indus")])
        assert workers.verdicts().each == [None]
        [process] = multiprocessing.active_children()
        os.kill(process.pid or 0, signal.SIGKILL)
        workers.judge([None])
        with pytest.raises(RunError, match="exit code -9"):
            workers.verdicts()


def test_files_that_are_there_stay_until_new_ones_are_whole(tmp_path: Path) -> None:
    good = {"instruction": "Name three rivers that cross a border.", "input": "", "output": "Danube."}
    write_jsonl(tmp_path / "tasks.jsonl", [good])
    filter_file(tmp_path / "tasks.jsonl", tmp_path / "out", None, FiltersConfig())
    before = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    write_jsonl(tmp_path / "tasks.jsonl", [good | {"output": "Rhine."}, good | {"history": [["a", "b"]]}])
    with pytest.raises(OtherForm):
        filter_file(tmp_path / "tasks.jsonl", tmp_path / "out", None, FiltersConfig())
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == before
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert json.loads(before["dataset.jsonl"])["output"] == "Danube."
