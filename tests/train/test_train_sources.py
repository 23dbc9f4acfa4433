import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, ModelConfig, TrainConfig, load_config, parse_config, with_values
from pacos.errors import ConfigError, DataError, HubOutOfReach
from pacos.models import load_tokenizer
from pacos.records import Task
from pacos.runs import Run
from pacos.templates import ALPACA, SELF_INSTRUCT, alpaca_prompt, simplified
from pacos.train import objectives
from pacos.train.data.examples import Dataset, check_examples, encode_tasks
from pacos.train.data.sources import hub_revisions, read_training_rows, source_files
from pacos.train.data.tokenized import load_dataset
from pacos.train.pipeline import is_done, recipe
from tests.support.small_training import train_here, training_config, write_tasks

ROOT = Path(__file__).resolve().parents[2]


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


def seed_file(path: Path) -> Path:
    rows = [
        {"id": "s0", "instruction": "Name it.", "instances": [{"input": "a", "output": "b"}, {"output": "c"}]},
        {"id": "s1", "instruction": "Say hi.", "instances": [{"input": "", "output": "Hi."}]},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def seeded_config(folder: Path, *sources: Path, **train: Any) -> Config:
    config = training_config(folder, Path("base"), folder, **train | {"data": [{"path": str(one)} for one in sources]})
    generate = config.generate.model_copy(update={"seeds": str(seed_file(folder / "seeds.jsonl"))})
    return config.model_copy(update={"generate": generate})


def test_every_instance_of_the_seed_tasks_joins_on_request(tmp_path: Path) -> None:
    own = write_tasks(tmp_path / "own.jsonl", 3)
    alone = read_training_rows(seeded_config(tmp_path, own))
    assert [name for name, _ in alone] == ["own.jsonl:1", "own.jsonl:2", "own.jsonl:3"]
    config = seeded_config(tmp_path, own, seed_tasks=True)
    assert read_training_rows(config) == [
        *alone,
        ("s0:1", Task("Name it.", "a", "b")),
        ("s0:2", Task("Name it.", "", "c")),
        ("s1:1", Task("Say hi.", "", "Hi.")),
    ]
    assert source_files(config) == [own, tmp_path / "seeds.jsonl"], "or a change of them would not be seen"


def test_the_packaged_seed_tasks_join_where_no_others_are_named(tmp_path: Path) -> None:
    own = write_tasks(tmp_path / "own.jsonl", 3)
    config = training_config(tmp_path, Path("base"), own, data=[{"path": str(own)}], seed_tasks=True)
    assert len(read_training_rows(config)) == 3 + 175


def test_preferences_have_no_seed_tasks() -> None:
    train = {"objective": "dpo", "seed_tasks": True}
    with pytest.raises(ConfigError, match="seed tasks have none"):
        parse_config({"name": "x", "model": {"base": "x"}, "train": train}, where="test")


def test_the_published_run_trains_on_the_seed_tasks_in_self_instructs_templates(tmp_path: Path) -> None:
    """self-instruct scripts/prepare_for_finetuning.sh: --include_seed_tasks."""
    config = load_config(ROOT / "configs" / "self-instruct-7b-lora.yaml", [f"runs_dir={tmp_path}"])
    (config.run_dir / "dataset").mkdir(parents=True)
    write_tasks(config.run_dir / "dataset" / "dataset.jsonl", 5)
    rows = read_training_rows(config)
    assert len(rows) == 5 + 175 and config.train.template == "self-instruct"


def test_switching_seed_tasks_on_is_another_recipe_and_leaving_them_off_is_that_of_earlier_versions() -> None:
    config = parse_config({"name": "x", "model": {"base": "x"}}, where="test")
    assert "seed_tasks" not in recipe(config)
    assert recipe(with_values(config, {"train.seed_tasks": True})) == recipe(config) | {"seed_tasks": True}


def test_self_instructs_template_trains_on_equal_texts_once_but_a_weight_repeats_them(tmp_path: Path) -> None:
    """Equal (prompt, completion) pairs go, whatever rows they come from: prepare_for_finetuning.py."""
    path = tmp_path / "rows.jsonl"
    row = {"instruction": "Say hi.", "input": "", "output": "Hi."}
    path.write_text("".join(json.dumps(row) + "\n" for _ in range(200)), encoding="utf-8")
    config = seeded_config(tmp_path, path, path, seed_tasks=True, template="self-instruct")
    rows = read_training_rows(config)
    texts = [SELF_INSTRUCT.render(task, f"{config.seed}:{name}") for name, task in rows]
    assert len(set(texts)) == len(texts)
    assert len([task for _, task in rows if task.instruction == "Say hi."]) == 6, "each of the six forms once"
    assert [name for name, task in rows if task.instruction == "Name it."] == ["s0:1", "s0:2"]
    assert len(read_training_rows(seeded_config(tmp_path, path, path, seed_tasks=True))) == 403, "not with Alpaca's"
    twice = {"path": str(path), "weight": 2}
    config = training_config(tmp_path, Path("base"), path, data=[twice], template="self-instruct")
    assert len(read_training_rows(config)) == 12


def test_half_of_self_instructs_inputs_lose_a_lone_field_name_and_blank_lines() -> None:
    task = Task("Fix it.", "Sentence: He go.\n\nNow.", "He went.")
    prompts = [SELF_INSTRUCT.render(task, f"42:r:{row}")[0] for row in range(2000)]
    whole = [prompt for prompt in prompts if "Sentence: He go.\n\nNow." in prompt]
    simple = [prompt for prompt in prompts if "Sentence" not in prompt and "He go.\nNow." in prompt]
    assert len(whole) + len(simple) == 2000
    # 2,000 fair draws lie within four standard deviations (of 22) of a half.
    assert abs(len(simple) - 1000) < 90
    assert len(set(simple)) == len(set(whole)) == 7, "the form is drawn apart from it"
    assert prompts == [SELF_INSTRUCT.render(task, f"42:r:{row}")[0] for row in range(2000)]


@pytest.mark.parametrize(
    ("input", "expected"),
    [
        ("Sentence: He go home.", "He go home."),
        ("Text: a: b", "Text: a: b"),
        ("Word: up\nWord: down", "up\nWord: down"),
        ("Text: one\nLabel: two", "Text: one\nLabel: two"),
        ("no name at all", "no name at all"),
        ("It is 10:30 now.", "30 now."),
        (" (a): b", "(a): b"),
        ("one\n\ntwo\n\n\nthree", "one\ntwo\n\nthree"),
        ("Sentence:", ""),
    ],
)
def test_an_input_is_simplified_as_published(input: str, expected: str) -> None:
    """By hand: where one word alone stands before colons, all up to the first one goes (prepare_for_finetuning.py)."""
    assert simplified(input) == expected


def test_an_input_that_is_a_field_name_alone_counts_as_none_once_it_is_gone() -> None:
    forms = {SELF_INSTRUCT.render(Task("Add.", "Numbers:", "3"), f"0:{row}") for row in range(400)}
    assert len(forms) == 7 + 6 and ("Add. Output:", " 3") in forms and ("Add.\nNumbers:\n\n", "3") in forms


def test_the_simplified_inputs_of_a_template_change_the_names_of_caches_and_not_that_of_its_format() -> None:
    plain = replace(SELF_INSTRUCT, simplifies_inputs=False)
    assert plain.sha256 == SELF_INSTRUCT.sha256 and plain.rendering != SELF_INSTRUCT.rendering
    assert ALPACA.rendering == ALPACA.sha256


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
    assert (dataset.dropped, dataset.unlabelled) == (0, 1), "a row without a response has no labels"


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
