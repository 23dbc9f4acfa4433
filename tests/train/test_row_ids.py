"""The ids that training sees are those of prompt and response together, on tokenizers of every kind."""

import gzip
import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pacos.config import ModelConfig, TrainConfig
from pacos.models import load_tokenizer
from pacos.records import Task
from pacos.templates import ALPACA, SELF_INSTRUCT, Template, alpaca_prompt
from pacos.train.data.examples import check_examples, encode_tasks
from pacos.train.data.pairs import encode_pairs, parse_pair
from pacos.train.data.tokenized import load_dataset, tokenizer_sha256
from pacos.train.export.adapter import with_chat_template
from pacos.train.export.probe import asked_of
from tests.support.small_tokenizers import KINDS, mistral_7b
from tests.support.small_training import training_config

LONG = TrainConfig(max_length=4096)
FRUIT = Task("Name a fruit.", "red", "Apples")
QUOTED = Task("Quote one.", "", '"Apples"')


@cache
def kind(name: str) -> Any:
    return KINDS[name]()


@pytest.mark.parametrize("name", KINDS)
def test_a_row_is_stanfords_ids_with_the_prompts_own_as_context(name: str) -> None:
    tokenizer, text = kind(name), alpaca_prompt(FRUIT.instruction, FRUIT.input)
    dataset = encode_tasks([("rows:1", FRUIT)], tokenizer, LONG)
    check_examples(dataset.examples, tokenizer)
    [example] = dataset.examples
    assert example.ids == [*tokenizer(text + FRUIT.output)["input_ids"], tokenizer.eos_token_id]
    assert example.prompt_length == len(tokenizer(text)["input_ids"])
    assert dataset.apart == 0 and "apart" not in str(dataset)


@pytest.mark.parametrize("name", [name for name in KINDS if name != "unigram"])
def test_rows_tokenised_apart_are_counted_and_said(name: str) -> None:
    tokenizer = kind(name)
    dataset = encode_tasks([("rows:1", FRUIT), ("rows:2", QUOTED), ("rows:3", QUOTED)], tokenizer, LONG)
    check_examples(dataset.examples, tokenizer)
    assert dataset.apart == 2 and "2 responses tokenised apart from their prompt" in str(dataset)
    quoted = dataset.examples[1]
    assert quoted.ids[: quoted.prompt_length] == tokenizer(alpaca_prompt(QUOTED.instruction))["input_ids"]
    assert tokenizer.decode(quoted.ids[quoted.prompt_length :]) == '"Apples"</s>'


@pytest.mark.parametrize("name", [name for name in KINDS if name != "unigram"])
def test_both_responses_of_a_pair_follow_the_same_prompt_ids(name: str) -> None:
    tokenizer = kind(name)
    row = {"instruction": "Name a fruit.", "chosen": "Apples", "rejected": '"Pears"'}
    dataset = encode_pairs([("pairs:1", parse_pair(row, where="pairs:1"))], tokenizer, LONG)
    chosen, rejected = dataset.examples
    prompt = tokenizer(alpaca_prompt("Name a fruit."))["input_ids"]
    assert chosen.ids == [*tokenizer(alpaca_prompt("Name a fruit.") + "Apples")["input_ids"], tokenizer.eos_token_id]
    assert rejected.ids[: rejected.prompt_length] == prompt == chosen.ids[: chosen.prompt_length]
    assert tokenizer.decode(rejected.ids[rejected.prompt_length :]) == '"Pears"</s>' and dataset.apart == 1


def test_the_count_of_rows_tokenised_apart_is_read_back_from_the_cache(tmp_path: Path, tiny_base: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    tasks = [{"instruction": task.instruction, "input": "", "output": task.output} for task in (FRUIT, QUOTED)]
    rows.write_text("".join(json.dumps(task) + "\n" for task in tasks))
    config = training_config(tmp_path, tiny_base, rows)
    written = load_dataset(config, kind("sentencepiece-first"), keep=True)
    assert written.apart == 1 and load_dataset(config, kind("sentencepiece-first")) == written
    assert len(list((config.run_dir / "train" / "tokenized").iterdir())) == 1


@pytest.mark.parametrize("legacy", [True, False])
def test_released_rows_have_stanfords_ids_but_where_a_token_straddles(
    legacy: bool, shared_data: Path, tmp_path: Path
) -> None:
    with gzip.open(shared_data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line, _ in zip(lines, range(1000), strict=False)]
    tasks = [Task(row["instruction"], row["input"], row["output"]) for row in rows]
    tokenizer = mistral_7b(tmp_path, legacy=legacy)
    dataset = encode_tasks([(str(number), task) for number, task in enumerate(tasks)], tokenizer, LONG)
    same = 0
    for task, example in zip(tasks, dataset.examples, strict=True):
        prompt = alpaca_prompt(task.instruction, task.input)
        same += example.ids[:-1] == tokenizer(prompt + task.output)["input_ids"]
        # One space more or less would show here.
        assert tokenizer.decode(example.ids[1:-1]).removeprefix(" ") == prompt + task.output
    assert same + dataset.apart == 1000 and dataset.apart < 50


@pytest.mark.parametrize("template", [ALPACA, SELF_INSTRUCT])
@pytest.mark.parametrize("name", KINDS)
def test_the_saved_chat_template_renders_the_training_prompts_ids(name: str, template: Template) -> None:
    tokenizer = with_chat_template(kind(name), template)
    for instruction in ("Name a fruit.", "Name two fruits,\nand list them below."):
        prompt = tokenizer(template.chat_prompt.format(instruction=instruction))["input_ids"]
        chat = [{"role": "user", "content": instruction}]
        assert tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False) == prompt


def test_the_stop_probe_asks_with_training_prompts(tmp_path: Path, tiny_base: Path) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path / "rows.jsonl")
    tokenizer = kind("sentencepiece-always")
    prompts = asked_of([("rows:1", FRUIT), ("rows:2", QUOTED)], tokenizer, config).prompts
    examples = encode_tasks([("rows:1", FRUIT), ("rows:2", QUOTED)], tokenizer, config.train).examples
    assert prompts == [example.ids[: example.prompt_length] for example in examples]


def test_a_tokenizer_that_opens_every_text_with_eos_can_be_trained_on(tiny_base: Path) -> None:
    """XGLM's does."""
    from tokenizers import processors

    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="</s> $A", special_tokens=[("</s>", tokenizer.eos_token_id)]
    )
    dataset = encode_tasks([("rows:1", FRUIT)], tokenizer, LONG)
    check_examples(dataset.examples, tokenizer)
    assert dataset.examples[0].ids.count(tokenizer.eos_token_id) == 2


def test_a_tokenizer_in_python_is_trained_with_and_hashed_by_its_files(tmp_path: Path) -> None:
    from transformers import ByT5Tokenizer

    tokenizer = ByT5Tokenizer()
    [example] = encode_tasks([("rows:1", QUOTED)], tokenizer, LONG).examples
    whole = alpaca_prompt(QUOTED.instruction) + QUOTED.output
    assert example.ids == [byte + 3 for byte in whole.encode()] + [tokenizer.eos_token_id]
    for folder in ("one", "other"):
        tokenizer.save_pretrained(tmp_path / folder)
    one, other = (ByT5Tokenizer.from_pretrained(tmp_path / folder) for folder in ("one", "other"))
    assert tokenizer_sha256(one) == tokenizer_sha256(other)
    other.add_tokens(["fruit"])
    assert tokenizer_sha256(one) != tokenizer_sha256(other)
