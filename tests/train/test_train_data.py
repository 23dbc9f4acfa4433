import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.config import ModelConfig, TrainConfig
from pacos.errors import ConfigError, DataError, ModelError
from pacos.models import load_tokenizer
from pacos.records import Task
from pacos.templates import alpaca_prompt
from pacos.train.data.examples import Dataset, Example, check_examples, encode_tasks
from pacos.train.data.tokenized import load_dataset
from pacos.train.packing.batch import collate
from tests.support.small_training import training_config, write_tasks


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))


def byte_tokenizer(merge_colon_quote: bool = False, bos: bool = True) -> Any:
    """One token per byte, and on wish one more for `:"`, as Llama's vocabularies have."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "</s>", *pre_tokenizers.ByteLevel.alphabet()] + [':"'] * merge_colon_quote
    vocabulary = {word: number for number, word in enumerate(words)}
    backend = Tokenizer(models.BPE(vocabulary, [(":", '"')] if merge_colon_quote else []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if bos:
        backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>", **({"bos_token": "<s>"} if bos else {}))


def encode(tokenizer: Any, *tasks: Task, max_length: int = 512, **options: Any) -> Dataset:
    named = [(f"rows:{number}", task) for number, task in enumerate(tasks, 1)]
    return encode_tasks(named, tokenizer, TrainConfig(max_length=max_length, **options))


def test_a_row_is_the_prompt_as_served_then_the_response_and_eos_as_labels(tokenizer: Any) -> None:
    [example] = encode(tokenizer, Task("Name a fruit.", "", " An apple.")).examples
    prompt = tokenizer(alpaca_prompt("Name a fruit."))["input_ids"]
    assert example.ids[: example.prompt_length] == prompt
    assert tokenizer.decode(example.ids[example.prompt_length :]) == " An apple.</s>"
    assert example.ids.count(tokenizer.bos_token_id) == 1 and example.ids[0] == tokenizer.bos_token_id


def test_a_response_that_would_merge_with_the_prompt_keeps_its_first_piece() -> None:
    tokenizer = byte_tokenizer(merge_colon_quote=True)
    [example] = encode(tokenizer, Task("Quote.", "", '"Hi"')).examples
    merged = tokenizer(alpaca_prompt("Quote.") + '"Hi"')["input_ids"]
    assert merged != example.ids[:-1], "the trap this test is about: the whole text has a token that straddles"
    assert tokenizer.decode(example.ids[example.prompt_length :]) == '"Hi"</s>'
    assert example.ids[: example.prompt_length] == tokenizer(alpaca_prompt("Quote."))["input_ids"]


def test_text_that_spells_a_special_token_stays_text(tokenizer: Any) -> None:
    dataset = encode(tokenizer, Task("What ends a line? <s>", "", "It is </s> in HTML."))
    check_examples(dataset.examples, tokenizer)
    [example] = dataset.examples
    assert example.ids.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(example.ids[example.prompt_length :]) == "It is </s> in HTML.</s>"


def test_eos_is_a_label_though_rows_are_padded_with_it() -> None:
    batch = collate([[Example("a", [1, 5, 2], 2), Example("b", [1, 2], 1)]], 8, pad_id=2)
    assert batch.ids.tolist() == [[1, 5, 2, 1, 2, 2, 2, 2]]
    assert batch.label_positions.tolist() == [1, 3] and batch.labels.tolist() == [2, 2]


def test_a_long_response_is_cut_without_eos_and_counted(tokenizer: Any) -> None:
    prompt = len(tokenizer(alpaca_prompt("Go."))["input_ids"])
    response = len(tokenizer("the fox " * 9, add_special_tokens=False)["input_ids"])
    task = Task("Go.", "", "the fox " * 9)
    whole = encode(tokenizer, task, max_length=prompt + response + 1)
    assert whole.truncated == 0 and whole.examples[0].ids[-1] == tokenizer.eos_token_id
    cut = encode(tokenizer, task, max_length=prompt + response)
    assert cut.truncated == 1 and len(cut.examples[0].ids) == prompt + response
    assert tokenizer.eos_token_id not in cut.examples[0].ids
    check_examples(cut.examples, tokenizer)


def test_a_prompt_that_leaves_no_room_is_dropped_and_counted(tokenizer: Any) -> None:
    short = len(tokenizer(alpaca_prompt("Go."))["input_ids"])
    dataset = encode(tokenizer, Task("Go.", "", "x"), Task("Go far away.", "", "x"), max_length=short + 2)
    assert [example.row for example in dataset.examples] == ["rows:1"] and dataset.dropped == 1
    assert "1 rows left out" in str(dataset) and "1 responses cut" not in str(dataset)


def test_an_empty_output_teaches_to_stop_and_is_counted(tokenizer: Any) -> None:
    dataset = encode(tokenizer, Task("Say nothing.", "", ""))
    assert dataset.empty == 1 and dataset.response_tokens == 1


def test_without_the_prompt_mask_all_but_the_first_token_are_labels(tokenizer: Any) -> None:
    [example] = encode(tokenizer, Task("Go.", "", "Gone."), mask_prompt=False).examples
    assert example.response_tokens == len(example.ids) - 1


def test_a_tokenizer_without_bos_gets_none() -> None:
    tokenizer = byte_tokenizer(bos=False)
    dataset = encode(tokenizer, Task("Go.", "", "Gone."))
    check_examples(dataset.examples, tokenizer)
    assert tokenizer.decode(dataset.examples[0].ids) == alpaca_prompt("Go.") + "Gone.</s>"


def test_a_tokenizer_without_eos_is_refused() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.eos_token = None
    with pytest.raises(ModelError, match="end-of-sequence"):
        encode(tokenizer, Task("Go.", "", "Gone."))


@pytest.mark.parametrize(
    ("ids", "prompt_length", "message"),
    [
        ([1, 7, 8, 9], 2, "does not end in EOS"),
        ([1, 1, 7, 8, 2], 2, "BOS appears inside"),
        ([7, 8, 2], 2, "does not start with"),
        ([1, 7, 2, 8, 2], 2, "EOS appears inside"),
        ([1, 7, 8, 2], 4, "no token of this row"),
    ],
)
def test_a_row_that_breaks_a_rule_is_refused_by_name(
    tokenizer: Any, ids: list[int], prompt_length: int, message: str
) -> None:
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id) == (1, 2)
    with pytest.raises(DataError, match=message) as refused:
        check_examples([Example("good:1", [1, 7, 8, 2], 2), Example("bad:2", ids, prompt_length)], tokenizer)
    assert refused.value.where == "bad:2"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(min_size=1), st.text(), st.text()), min_size=1, max_size=4))
def test_any_text_comes_back_whole_and_passes_the_rules(texts: list[tuple[str, str, str]]) -> None:
    tokenizer = byte_tokenizer(merge_colon_quote=True)
    tasks = [Task(*text) for text in texts]
    dataset = encode(tokenizer, *tasks, max_length=100_000)
    check_examples(dataset.examples, tokenizer)
    for task, example in zip(tasks, dataset.examples, strict=True):
        assert tokenizer.decode(example.ids[1:]) == alpaca_prompt(task.instruction, task.input) + task.output + "</s>"


def test_sources_are_read_in_order_up_to_their_limits(tmp_path: Path, tiny_base: Path, tokenizer: Any) -> None:
    first, second = write_tasks(tmp_path / "a.jsonl", 5), write_tasks(tmp_path / "b.jsonl", 5, seed=1)
    data = [{"path": str(first), "limit": 2}, {"path": str(second)}]
    dataset = load_dataset(training_config(tmp_path, tiny_base, first, data=data), tokenizer)
    assert [example.row for example in dataset.examples] == [
        "a.jsonl:1",
        "a.jsonl:2",
        *(f"b.jsonl:{n}" for n in range(1, 6)),
    ]


def test_the_hash_follows_what_is_trained_on(tokenizer: Any) -> None:
    task = Task("Go.", "", "Gone.")
    assert encode(tokenizer, task).sha256 == encode(tokenizer, task).sha256
    assert encode(tokenizer, task).sha256 != encode(tokenizer, task, mask_prompt=False).sha256
    assert encode(tokenizer, task).sha256 != encode(tokenizer, Task("Go.", "", "Gone!")).sha256


def test_a_dataset_of_nothing_but_long_prompts_is_an_error(tmp_path: Path, tiny_base: Path, tokenizer: Any) -> None:
    data = write_tasks(tmp_path / "data.jsonl", 3)
    with pytest.raises(DataError, match=r"3 rows left out because their prompt alone fills train\.max_length"):
        load_dataset(training_config(tmp_path, tiny_base, data, max_length=20), tokenizer)


def test_an_empty_or_missing_dataset_is_an_error(tmp_path: Path, tiny_base: Path, tokenizer: Any) -> None:
    empty = tmp_path / "data.jsonl"
    empty.touch()
    with pytest.raises(DataError, match="no tasks"):
        load_dataset(training_config(tmp_path, tiny_base, empty), tokenizer)
    with pytest.raises(DataError, match="no dataset yet"):
        load_dataset(training_config(tmp_path, tiny_base, empty, data=[]), tokenizer)


def test_the_runs_own_dataset_is_the_default(tmp_path: Path, tiny_base: Path, tokenizer: Any) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path, data=[])
    (config.run_dir / "dataset").mkdir(parents=True)
    row = {"instruction": "Go.", "input": "", "output": "Gone."}
    (config.run_dir / "dataset" / "dataset.jsonl").write_text(json.dumps(row) + "\n")
    assert load_dataset(config, tokenizer).rows == 1


def test_an_example_must_fit_in_a_micro_batch(tmp_path: Path, tiny_base: Path, tokenizer: Any) -> None:
    data = write_tasks(tmp_path / "data.jsonl", 3)
    with pytest.raises(ConfigError, match=r"train\.pack_tokens"):
        load_dataset(training_config(tmp_path, tiny_base, data, max_length=600), tokenizer)
