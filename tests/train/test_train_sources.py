import json
import struct
from pathlib import Path
from typing import Any

import pytest

from pacos.config import ModelConfig, TrainConfig, parse_config
from pacos.errors import ConfigError, DataError, HubOutOfReach
from pacos.models import load_tokenizer
from pacos.records import Task
from pacos.runs import Run
from pacos.templates import ALPACA, SELF_INSTRUCT, alpaca_prompt
from pacos.train import objectives
from pacos.train.data.examples import Dataset, check_examples, encode_tasks
from pacos.train.data.sources import hub_revisions, read_training_rows
from pacos.train.data.tokenized import load_dataset
from pacos.train.pipeline import is_done
from tests.support.small_training import train_here, training_config, write_tasks


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))


def names(folder: Path, *sources: dict[str, Any]) -> list[str]:
    config = training_config(folder, Path("base"), folder, data=list(sources))
    return [name for name, _ in read_training_rows(config)]


def training_split(folder: Path, counts: dict[str, int], listed: list[str]) -> Path:
    """A SuperNI folder with only a training split; every instance has two outputs."""
    (folder / "tasks").mkdir(parents=True)
    (folder / "splits" / "default").mkdir(parents=True)
    (folder / "splits" / "default" / "train_tasks.txt").write_text("\n".join(listed) + "\n")
    for name, count in counts.items():
        instances = [{"id": f"{name}-{n}", "input": f" in {n} ", "output": [f"out {n}", "other"]} for n in range(count)]
        task = {"Definition": ["Do it. "], "Categories": ["Some Kind"], "Instances": instances}
        (folder / "tasks" / f"{name}.json").write_text(json.dumps(task))
    return folder


def test_a_weight_takes_rows_whole_times_and_the_rest_by_the_seed(tmp_path: Path) -> None:
    file = {"path": str(write_tasks(tmp_path / "a.jsonl", 8))}
    assert names(tmp_path, file | {"weight": 2}) == names(tmp_path, file) * 2
    half = names(tmp_path, file | {"weight": 0.5})
    assert len(half) == 4 == len(set(half)) and half == names(tmp_path, file | {"weight": 0.5})
    assert len(names(tmp_path, file | {"weight": 1.25, "limit": 4})) == 5
    with pytest.raises(DataError, match="takes none of its 8 rows"):
        names(tmp_path, file | {"weight": 0.01})


def test_the_training_split_of_superni_is_taken_task_by_task(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = training_split(tmp_path / "ni", {"task1_a": 3, "task2_b": 150}, ["task1_a", "task2_b", "task3_c"])
    config = training_config(tmp_path, tmp_path, tmp_path, data=[{"superni": str(folder), "per_task": 2}])
    assert read_training_rows(config) == [
        (f"task{task}:task{task}-{n}", Task("Do it.", f"in {n}", f"out {n}")) for task in ("1_a", "2_b") for n in (0, 1)
    ]
    assert "2 of the 3 tasks" in caplog.text
    assert len(names(tmp_path, {"superni": str(folder)})) == 103, "a task gives its first 100"
    with pytest.raises(DataError, match="no train split"):
        names(tmp_path, {"superni": str(tmp_path)})


def test_self_instruct_and_superni_make_the_papers_third_variant(
    tmp_path: Path, shared_data: Path, tokenizer: Any
) -> None:
    own = write_tasks(tmp_path / "own.jsonl", 20)
    superni = {"superni": str(shared_data / "superni" / "tasks_train_sample"), "per_task": 5}
    config = training_config(tmp_path, Path("base"), own, data=[{"path": str(own)}, superni], template="self-instruct")
    rows = read_training_rows(config)
    assert len(rows) == 20 + 80 * 5
    dataset = encode_tasks(rows, tokenizer, config.train)
    check_examples(dataset.examples, tokenizer)
    assert len({tuple(example.ids[:4]) for example in dataset.examples}) > 20, "no one prefix for all"


def test_a_dataset_of_the_hub_is_read_by_its_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import Dataset

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    table = {"instruction": ["Go.", "Stay."], "input": [None, "here"], "output": ["Gone.", "Stayed."], "x": [1, 2]}
    folder = tmp_path / "hub"
    folder.mkdir()
    Dataset.from_dict(table).to_parquet(folder / "train.parquet")
    source = {"hub": str(folder)}
    config = training_config(tmp_path, tmp_path, tmp_path, data=[source])
    assert [task for _, task in read_training_rows(config)] == [
        Task("Go.", "", "Gone."),
        Task("Stay.", "here", "Stayed."),
    ]
    with pytest.raises(ConfigError, match="nowhere"):
        names(tmp_path, source | {"split": "nowhere"})
    Dataset.from_dict({"question": ["?"], "output": ["!"]}).to_parquet(folder / "train.parquet")
    with pytest.raises(DataError, match="no column instruction; its columns are question, output"):
        names(tmp_path, source)


def test_an_unreachable_hub_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubOutOfReach):
        names(tmp_path, {"hub": "nobody/nothing"})


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ({"path": "a.jsonl", "hub": "b/c"}, "one of path, hub and superni"),
        ({"limit": 3}, "one of path, hub and superni"),
        ({"path": "a.jsonl", "per_task": 3}, "per_task counts"),
    ],
)
def test_a_source_that_is_not_one_is_refused(source: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        parse_config({"name": "x", "model": {"base": "x"}, "train": {"data": [source]}}, where="test")


def test_self_instructs_encodings_are_drawn_by_row_and_all_appear() -> None:
    task = Task(" Add. ", " 1 and 2 ", " 3 ")
    texts = {SELF_INSTRUCT.render(task, f"0:{row}") for row in range(200)}
    assert (
        len(texts) == 7 and ("Add.\n\nInput: 1 and 2\n\nOutput:", " 3") in texts and ("Add.\n1 and 2\n\n", "3") in texts
    )
    alone = {SELF_INSTRUCT.render(Task("Add.", " ", "3"), f"0:{row}") for row in range(200)}
    assert len(alone) == 6 and ("Add. Output:", " 3") in alone and ("Task: Add.\n\n", "3") in alone
    assert ALPACA.render(task, "0") == (alpaca_prompt(" Add. ", " 1 and 2 "), " 3 ")


def test_without_eos_a_response_ends_in_its_own_last_token(tokenizer: Any) -> None:
    named = [("rows:1", Task("Go.", "", "the fox")), ("rows:2", Task("Go.", "", ""))]
    dataset = encode_tasks(named, tokenizer, TrainConfig(append_eos=False))
    check_examples(dataset.examples, tokenizer, ends_in_eos=False)
    assert [tokenizer.decode(example.ids[example.prompt_length :]) for example in dataset.examples] == ["the fox"]
    assert dataset.dropped == 1, "a row without a response has no labels"


def test_tokenised_data_is_cached_until_its_content_changes(
    tmp_path: Path, tiny_base: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 12)
    config = training_config(tmp_path, tiny_base, tasks, max_length=60)
    kept = config.run_dir / "train" / "tokenized"
    first = load_dataset(config, tokenizer, keep=True)
    assert first.truncated, "or its count would not be tested"
    [file] = kept.iterdir()

    calls = []

    def counted(*arguments: Any) -> Dataset:
        calls.append(1)
        return encode_tasks(*arguments)

    monkeypatch.setattr(objectives, "encode_tasks", counted)
    assert load_dataset(config, tokenizer) == first and not calls
    for change in ({"max_length": 50}, {"mask_prompt": False}, {"template": "self-instruct"}, {"append_eos": False}):
        load_dataset(training_config(tmp_path, tiny_base, tasks, **({"max_length": 60} | change)), tokenizer)
    assert len(calls) == 4 and [*kept.iterdir()] == [file], "the cache is written only with keep"

    written, first_ids = file.read_bytes(), first.examples[0].ids
    file.write_bytes(written[:-40])
    assert load_dataset(config, tokenizer) == first and len(calls) == 5
    ids = struct.pack(f"<{len(first_ids)}i", *first_ids)
    assert written.count(ids) == 1
    file.write_bytes(written.replace(ids, ids[:-4] + b"\1\0\0\0"))
    assert load_dataset(config, tokenizer) == first and len(calls) == 6
    write_tasks(tasks, 12, seed=1)
    assert load_dataset(config, tokenizer, keep=True).sha256 != first.sha256
    assert len([*kept.iterdir()]) == 1 and not file.exists()


def test_a_change_of_superni_or_of_a_dataset_folder_is_seen(tmp_path: Path, tiny_base: Path) -> None:
    superni = training_split(tmp_path / "ni", {"task1_a": 4}, ["task1_a"])
    folder = tmp_path / "rows"
    folder.mkdir()
    write_tasks(folder / "rows.jsonl", 6)
    sources = [{"superni": str(superni)}, {"hub": str(folder)}]
    config = training_config(tmp_path, tiny_base, tmp_path, data=sources, epochs=1)
    train_here(config)
    with Run.open(config) as run:
        assert is_done(config, run)
        write_tasks(folder / "rows.jsonl", 6, seed=1)
        assert not is_done(config, run)
        write_tasks(folder / "rows.jsonl", 6)
        assert is_done(config, run)
        task = superni / "tasks" / "task1_a.json"
        task.write_text(task.read_text().replace("out 1", "out 9"))
        assert not is_done(config, run)


def test_another_commit_of_a_hub_dataset_is_seen_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    config = training_config(tmp_path, tmp_path, tmp_path, data=[{"hub": "owner/rows"}])
    assert hub_revisions(config.train.data) == {"owner/rows": ""}
    refs = tmp_path / "datasets--owner--rows" / "refs"
    refs.mkdir(parents=True)
    (refs / "main").write_text("abc")
    assert hub_revisions(config.train.data) == {"owner/rows": "abc"}
