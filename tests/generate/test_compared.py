"""The index of known tasks is kept for the next session, which decides as one that indexes them anew."""

import logging
import random
from pathlib import Path
from typing import Any

import pytest

from pacos.config import FiltersConfig
from pacos.generate import compared
from pacos.generate.compared import compared_index
from pacos.generate.pool import Pool
from pacos.generate.pool_snapshot import Earlier
from pacos.generate.prompting.instructions import INSTRUCTION_LIST
from pacos.novelty.index import NoveltyIndex
from pacos.records import Task
from tests.generate.test_workers import instructions


@pytest.fixture(autouse=True)
def kept_from_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compared, "WORTH_KEEPING", 10)


def known(count: int) -> list[tuple[str, Task]]:
    return [(f"known:{n}", Task(text, "", "Yes.")) for n, text in enumerate(instructions(random.Random(4), count))]


def refuse_to_index(*_: Any) -> None:
    raise AssertionError("indexed anew")


def test_a_second_session_indexes_nothing_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = instructions(random.Random(5), 100) + [f"{task.instruction} more" for _, task in known(200)[::4]]
    first = compared_index(known(200), FiltersConfig(), tmp_path / ".known")
    monkeypatch.setattr(NoveltyIndex, "extend", refuse_to_index)
    second = compared_index(known(200), FiltersConfig(), tmp_path / ".known")
    monkeypatch.undo()
    assert sum(match is not None for match in first.matches(asked)) > 20
    assert second.matches(asked) == first.matches(asked)
    ids = [f"new:{number}" for number in range(len(asked))]
    assert second.admit(ids, asked) == first.admit(ids, asked)


@pytest.mark.parametrize(
    ("tasks", "filters"), [(known(201), FiltersConfig()), (known(200), FiltersConfig(novelty=0.5))]
)
def test_other_tasks_or_filters_are_indexed_anew(
    tmp_path: Path, tasks: list[tuple[str, Task]], filters: FiltersConfig
) -> None:
    compared_index(known(200), FiltersConfig(), tmp_path / ".known")
    index = compared_index(tasks, filters, tmp_path / ".known")
    assert (len(index), index.threshold) == (len(tasks), filters.novelty)


def test_a_damaged_file_is_said_and_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    compared_index(known(200), FiltersConfig(), tmp_path / ".known")
    [ids] = (tmp_path / ".known").glob("*texts_ids_last.npy")
    ids.write_bytes(ids.read_bytes()[:-1] + b"?")
    with caplog.at_level(logging.INFO, "pacos"):
        assert len(compared_index(known(200), FiltersConfig(), tmp_path / ".known")) == 200
        assert "damaged" in caplog.text and "earlier session" not in caplog.text
        compared_index(known(200), FiltersConfig(), tmp_path / ".known")
    assert "200 known tasks are taken from the index of an earlier session" in caplog.text


def test_a_pool_of_instructions_takes_its_known_tasks_from_the_session_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for session in range(2):
        if session:
            monkeypatch.setattr(NoveltyIndex, "extend", refuse_to_index)
        with Pool(
            tmp_path, [], FiltersConfig(), 100, lists=INSTRUCTION_LIST, known=known(50), earlier=Earlier({})
        ) as pool:
            assert pool.rows == 50


def test_few_tasks_are_not_kept(tmp_path: Path) -> None:
    compared_index(known(9), FiltersConfig(), tmp_path / ".known")
    assert not (tmp_path / ".known").exists()
