"""The seed loader: what it accepts, and its errors for what it does not."""

import json
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import DataError
from pacos.records import Task
from pacos.seeds import PACKAGED_SEEDS, load_seeds, seed_instances, seeds_path


def seed(**changes: Any) -> dict[str, Any]:
    good = {
        "id": "seed_task_0",
        "name": "capital",
        "instruction": "Name the capital.",
        "instances": [{"input": "France", "output": "Paris"}],
        "is_classification": False,
    }
    return good | changes


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows), "utf-8")
    return path


def test_a_seed_is_its_first_instance(tmp_path: Path) -> None:
    more = seed(instances=[{"input": "France", "output": "Paris"}, {"input": "Italy", "output": "Rome"}])
    (loaded,) = load_seeds(write(tmp_path / "seeds.jsonl", more))
    assert loaded.task == Task("Name the capital.", "France", "Paris")
    assert (loaded.id, loaded.is_classification) == ("seed_task_0", False)


def test_the_packaged_seeds_load_unless_others_are_named() -> None:
    assert len(load_seeds(seeds_path(None), at_least=3)) == 175
    assert seeds_path(None) == PACKAGED_SEEDS
    assert seeds_path("mine.jsonl") == Path("mine.jsonl")


def test_the_official_seeds_load(shared_data: Path) -> None:
    seeds = load_seeds(shared_data / "self_instruct" / "seed_tasks.jsonl")
    assert len(seeds) == 175
    assert sum(not seed.task.input for seed in seeds) == 50


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{nonsense", "not JSON"),
        ([1], "each line must be a JSON object"),
        ({"name": "x"}, "`id` is missing"),
        (seed(id="seed_task_1", instruction=3), "`instruction` must be text"),
        (seed(id="seed_task_1", instruction="  "), "`instruction` is empty"),
        (seed(id="seed_task_1", instances=[]), "`instances` must be a list"),
        (seed(id="seed_task_1", instances=[{"input": "x"}]), r"`instances\[0\].output` is missing"),
        (seed(id="seed_task_1", instances=[{"input": 1, "output": "y"}]), r"`instances\[0\].input` must be text"),
        (seed(id="seed_task_1", is_classification="no"), "`is_classification` must be true or false"),
        (seed(instruction="Another one."), "`id` repeats the one of line 1"),
        (seed(id="seed_task_1"), "`instruction` repeats the one of line 1"),
    ],
)
def test_a_malformed_seed_is_named_with_its_line(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(DataError, match=rf"seeds\.jsonl:2: {message}"):
        load_seeds(write(tmp_path / "seeds.jsonl", seed(), row))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"seeds\.jsonl: no such file"):
        load_seeds(tmp_path / "seeds.jsonl")


def test_fewer_seeds_than_a_prompt_shows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds 1 seed tasks, but each request shows 3"):
        load_seeds(write(tmp_path / "seeds.jsonl", seed()), at_least=3)


def test_every_instance_of_every_seed_is_a_row_for_training(tmp_path: Path) -> None:
    more = seed(instances=[{"input": " France ", "output": "Paris"}, {"output": "Rome\n"}])
    other = seed(id="seed_task_1", instruction="Say hi.", instances=[{"input": "", "output": "Hi."}])
    assert seed_instances(write(tmp_path / "seeds.jsonl", more, other)) == [
        ("seed_task_0:1", Task("Name the capital.", "France", "Paris")),
        ("seed_task_0:2", Task("Name the capital.", "", "Rome")),
        ("seed_task_1:1", Task("Say hi.", "", "Hi.")),
    ]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"input": "Italy"}, r"`instances\[1\].output` is missing"),
        ({"input": "Italy", "output": " "}, r"`instances\[1\].output` is empty"),
        ("Rome", "`instances` must be a list of"),
    ],
)
def test_a_malformed_instance_is_named_with_its_line(tmp_path: Path, second: object, message: str) -> None:
    path = write(tmp_path / "seeds.jsonl", seed(instances=[{"input": "France", "output": "Paris"}, second]))
    with pytest.raises(DataError, match=rf"seeds\.jsonl:1: {message}"):
        seed_instances(path)
