"""Conversations from a file to labels: which turns are trained on, what is cut, and that a pack changes no loss."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pacos.config import TrainConfig
from pacos.conversations import Conversation, Message
from pacos.errors import ConfigError, DataError, ModelError
from pacos.records import Task
from pacos.train.data.chat_examples import check_turns, encode_chat_pairs, encode_conversations, first_turns
from pacos.train.data.chat_pairs import ChatPair, parse_chat_pair
from pacos.train.data.examples import Example
from pacos.train.data.sources import read_training_rows
from pacos.train.data.tokenized import content_sha256, load_dataset, read_dataset, write_dataset
from pacos.train.export.probe import asked_of
from pacos.train.packing.batch import collate
from pacos.train.packing.plan import plan_run
from tests.support.chat_templates import CHAT_KINDS, chat_tokenizer
from tests.support.small_training import chat_config, training_config

CHAT = {"template": "chat", "max_length": 256}
SAID = ["A fruit?", "Apples.", "And another?", "Pears.", "One more, please.", "Plums."]


def conversation(said: list[str] = SAID, system: str = "") -> Conversation:
    turns = [Message(("user", "assistant")[number % 2], text) for number, text in enumerate(said)]
    return Conversation((*[Message("system", system)] * bool(system), *turns))


def labels(tokenizer: Any, example: Example) -> list[str]:
    return [tokenizer.decode(example.ids[first:last]) for first, last in example.label_spans]


def encode(name: str, rows: list[Conversation], **train: Any) -> tuple[Any, Any]:
    tokenizer = chat_tokenizer(name)
    named = [(f"rows:{number}", row) for number, row in enumerate(rows, 1)]
    return tokenizer, encode_conversations(named, tokenizer, TrainConfig(**CHAT | train))


@pytest.mark.parametrize("name", [name for name, kind in CHAT_KINDS.items() if not kind.moves])
def test_a_conversation_is_one_example_with_every_answer_as_labels(name: str) -> None:
    tokenizer, dataset = encode(name, [conversation()])
    [example] = dataset.examples
    end = CHAT_KINDS[name].end
    assert [text.replace(" ", "") for text in labels(tokenizer, example)] == [said + end for said in SAID[1::2]]
    assert example.response_tokens == sum(last - first for first, last in example.label_spans)
    assert "Onemore,please." in tokenizer.decode(example.ids).replace(" ", ""), "context between the answers is kept"


def test_learning_the_last_turn_alone_leaves_earlier_answers_as_context() -> None:
    tokenizer, dataset = encode("chatml", [conversation()], learn="last_turn")
    [example] = dataset.examples
    assert labels(tokenizer, example) == ["Plums.<|im_end|>"] and "Apples." in tokenizer.decode(example.ids)


def test_turns_that_read_otherwise_later_are_examples_of_their_own() -> None:
    said = ["A fruit?", "<think>\nRed?\n</think>\n\nApples.", "And?", "Pears."]
    tokenizer, dataset = encode("qwen3", [conversation(said)])
    assert [labels(tokenizer, example) for example in dataset.examples] == [
        ["<think>\n\n</think>\n\nPears.<|im_end|>"],
        ["<think>\nRed?\n</think>\n\nApples.<|im_end|>"],
    ]
    assert "1 conversations have several examples" in str(dataset)


def test_a_system_text_that_moves_gives_each_turn_its_own_example() -> None:
    tokenizer, dataset = encode("mistral-v3", [conversation(SAID[:4], system="Be brief.")])
    assert [labels(tokenizer, example) for example in dataset.examples] == [["Pears.</s>"], ["Apples.</s>"]]
    assert len(encode("mistral-v3", [conversation(SAID[:4])])[1].examples) == 1


def test_a_conversation_that_is_too_long_ends_behind_the_last_turn_that_fits() -> None:
    _, whole = encode("chatml", [conversation()])
    [example] = whole.examples
    spans = example.label_spans
    for limit, kept in ((spans[2][1], 3), (spans[2][1] - 1, 2), (spans[1][1], 2), (spans[0][1], 1)):
        tokenizer, dataset = encode("chatml", [conversation()], max_length=limit)
        assert labels(tokenizer, dataset.examples[0]) == [said + "<|im_end|>" for said in SAID[1::2]][:kept]
        assert len(dataset.examples[0].ids) == spans[kept - 1][1] and dataset.shortened == (kept < 3)
    _, dataset = encode("chatml", [conversation()], max_length=spans[0][1] - 1)
    assert (dataset.examples, dataset.unfinished) == ([], 1)


def test_an_empty_answer_is_trained_on_as_its_end_and_counted() -> None:
    tokenizer, dataset = encode("chatml", [conversation(["A?", ""])])
    assert labels(tokenizer, dataset.examples[0]) == ["<|im_end|>"] and dataset.empty == 1


def test_an_end_of_turn_that_is_no_label_is_refused() -> None:
    _, dataset = encode("chatml", [conversation()])
    [example] = dataset.examples
    end = {example.ids[-1]}
    check_turns([example], end)
    (first, last), *others = example.label_spans
    for spans in ([(first, last - 1), *others], [(0, last)], [(last, last), *others]):
        with pytest.raises(DataError, match=r"rows:1: (a turn's end is not trained on|the labels are not turns)"):
            check_turns([Example.of_spans("rows:1", example.ids, spans)], end)


def test_an_end_at_which_the_served_model_would_not_stop_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        encode("gemma", [conversation()])
    assert "turns end in <end_of_turn>, which is neither the tokenizer's EOS" in caplog.text
    caplog.clear()
    encode("llama-3", [conversation()])
    assert not caplog.text


def test_the_stop_probe_asks_for_first_answers() -> None:
    tokenizer = chat_tokenizer("chatml")
    [turn] = first_turns([("a", conversation())], tokenizer)
    assert tokenizer.decode(turn.prompt) == "<|im_start|>user\nA fruit?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(turn.answer) == "Apples.<|im_end|>"


def test_the_stop_probe_leaves_out_long_first_answers(tmp_path: Path, tiny_base: Path) -> None:
    tokenizer = chat_tokenizer("chatml")
    config = chat_config(tmp_path, tiny_base, [], max_length=1024)
    rows = [("a", conversation()), ("b", conversation(["B?", "b " * 150]))]
    asked = asked_of(rows, tokenizer, config)
    assert [tokenizer.decode(prompt) for prompt in asked.prompts] == [
        "<|im_start|>user\nA fruit?<|im_end|>\n<|im_start|>assistant\n"
    ]


# Sources.


def test_single_turns_and_chats_are_mixed_in_one_run(tmp_path: Path) -> None:
    other = tmp_path / "chats.json"
    other.write_text(
        json.dumps([{"conversations": [{"from": "human", "value": "C?"}, {"from": "gpt", "value": "D."}]}])
    )
    task = {"instruction": "A.", "input": "b", "output": "B."}
    config = chat_config(tmp_path, Path("base"), [task])
    sources = [{"path": str(tmp_path / "chats.jsonl")}, {"path": str(other)}]
    config = training_config(tmp_path, Path("base"), other, template="chat", data=sources)
    assert [row for _, row in read_training_rows(config)] == [
        conversation(["A.\n\nb", "B."]),
        conversation(["C?", "D."]),
    ]
    config = training_config(tmp_path, Path("base"), other, data=sources)
    assert [row for _, row in read_training_rows(config)] == [Task("A.", "b", "B."), Task("C?", "", "D.")]


@pytest.mark.parametrize(
    ("train", "complaint"),
    [
        ({"template": "chat", "append_eos": False}, "leave append_eos"),
        ({"template": "chat", "mask_prompt": False}, "leave mask_prompt"),
        ({"chat_template": "chatml"}, "set template=chat"),
        ({"learn": "last_turn"}, "set template=chat"),
    ],
)
def test_keys_that_contradict_the_template_are_refused(tmp_path: Path, train: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        training_config(tmp_path, tmp_path, tmp_path, **train)


def test_the_cache_keeps_gaps_and_its_name_the_chat_template(tmp_path: Path) -> None:
    _, dataset = encode("chatml", [conversation(), conversation(["A?", "B."])])
    write_dataset(tmp_path / "cache.safetensors", dataset)
    found = read_dataset(tmp_path / "cache.safetensors")
    assert found is not None and found.examples == dataset.examples and found.sha256 == dataset.sha256
    tokenizer, config = chat_tokenizer("chatml"), chat_config(tmp_path, Path("base"), [])
    before = content_sha256([], tokenizer, config)
    tokenizer.chat_template += " "
    assert content_sha256([], tokenizer, config) != before
    last = config.model_copy(update={"train": config.train.model_copy(update={"learn": "last_turn"})})
    assert content_sha256([], tokenizer, last) != content_sha256([], tokenizer, config)


def test_where_the_labels_are_is_part_of_the_datasets_hash() -> None:
    _, dataset = encode("chatml", [conversation()])
    whole = dataset.sha256
    dataset.examples[0] = replace(dataset.examples[0], gaps=dataset.examples[0].gaps[1:])
    assert dataset.sha256 != whole


def test_nothing_left_to_train_on_names_the_true_reason(tmp_path: Path, tiny_base: Path) -> None:
    from pacos.models import load_tokenizer

    alike = [{"instruction": "Name a colour.", "input": "", "chosen": "a", "rejected": "a"}] * 4
    empty = [{"instruction": "Name a colour.", "input": "", "output": ""}] * 4
    long = [{"messages": [{"role": "user", "content": "a " * 99}, {"role": "assistant", "content": "b"}]}]
    for rows, train, complaint in (
        (
            alike,
            {"objective": "dpo", "template": "alpaca"},
            "4 pairs left out because both answers are the same.*\n.*differ",
        ),
        (
            empty,
            {"append_eos": False, "template": "alpaca"},
            "4 rows left out because their output is empty.*\n.*outputs",
        ),
        (long, {"max_length": 20, "chat_template": "plain"}, "no answer ends within train.max_length\n.*max_length"),
    ):
        config = chat_config(tmp_path, tiny_base, rows, **train)
        tokenizer = load_tokenizer(str(tiny_base), config.model)
        tokenizer.chat_template = "{% for m in messages %}{{ m.content }}</s>{% endfor %}"
        with pytest.raises(DataError, match=complaint):
            load_dataset(config, tokenizer)


# Preference pairs.

U, A, B = (Message(role, text) for role, text in (("user", "A fruit?"), ("assistant", "Apples."), ("assistant", "No.")))
PROMPT = [{"role": "user", "content": "A fruit?"}]
CHOSEN, REJECTED = ({"role": "assistant", "content": text} for text in ("Apples.", "No."))


@pytest.mark.parametrize(
    "values",
    [
        {"prompt": "A fruit?", "chosen": "Apples.", "rejected": "No."},
        {"prompt": PROMPT, "chosen": [CHOSEN], "rejected": [REJECTED]},
        {"prompt": PROMPT, "chosen": [*PROMPT, CHOSEN], "rejected": [*PROMPT, REJECTED]},
        {"chosen": [*PROMPT, CHOSEN], "rejected": [*PROMPT, REJECTED]},
        {"messages": PROMPT, "chosen": CHOSEN, "rejected": REJECTED},
        {"conversations": PROMPT, "chosen": "Apples.", "rejected": "No."},
        {"instruction": "A fruit?", "input": "", "chosen": "Apples.", "rejected": "No."},
    ],
)
def test_every_form_of_a_pair_of_answers_is_the_same_pair(values: dict[str, Any]) -> None:
    assert parse_chat_pair(values, where="x") == ChatPair((U,), (A,), (B,))


def test_a_pair_keeps_its_system_text_and_shared_turns() -> None:
    turns = [*PROMPT, CHOSEN, {"role": "user", "content": "And?"}]
    pair = parse_chat_pair({"system": "Be brief.", "messages": turns, "chosen": CHOSEN, "rejected": "No."}, where="x")
    assert [message.role for message in pair.prompt] == ["system", "user", "assistant", "user"]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"prompt": "a", "chosen": "b"}, "`rejected` is missing"),
        (
            {"prompt": "a", "instruction": "a", "chosen": "b", "rejected": "c"},
            "has two prompts: prompt and instruction",
        ),
        ({"chosen": "b", "rejected": "c"}, "`chosen`: turn 1 is the assistant's"),
        ({"messages": [*PROMPT, CHOSEN], "chosen": "b", "rejected": "c"}, "`chosen`: turn 3 is the assistant's"),
        ({"prompt": "a", "chosen": PROMPT, "rejected": "c"}, "`chosen`: turn 2 is the user's"),
        ({"prompt": "a", "chosen": 1, "rejected": "c"}, "`chosen` must be a list of messages"),
    ],
)
def test_a_pair_that_is_wrong_is_refused(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        parse_chat_pair(values, where="data.jsonl:7")


def test_both_answers_of_a_pair_are_labels_behind_the_same_prompt() -> None:
    tokenizer, train = chat_tokenizer("chatml"), TrainConfig(objective="dpo", **CHAT)
    more = ChatPair((U,), (A, Message("user", "And?"), Message("assistant", "Pears.")), (B,))
    dataset = encode_chat_pairs([("a", ChatPair((U,), (A,), (B,))), ("b", more)], tokenizer, train)
    assert [labels(tokenizer, example) for example in dataset.examples] == [
        ["Apples.<|im_end|>"],
        ["No.<|im_end|>"],
        ["Apples.<|im_end|>", "Pears.<|im_end|>"],
        ["No.<|im_end|>"],
    ]
    plan = plan_run(dataset.examples, TrainConfig(objective="dpo", batch_size=2, epochs=1, **CHAT), 0)
    assert plan.saved > 0.2
    same = encode_chat_pairs([("a", ChatPair((U,), (A,), (A,)))], tokenizer, train)
    assert (same.examples, same.identical) == ([], 1)


def test_a_pair_whose_answer_is_no_one_text_is_refused() -> None:
    thinking = Message("assistant", "<think>\nHm.\n</think>\n\nPears.")
    pair = ChatPair((U,), (thinking, Message("user", "And?"), A), (B,))
    train = TrainConfig(objective="dpo", **CHAT)
    with pytest.raises(ModelError, match=r"rows:1, `chosen`, turn 2: .*renders this turn otherwise"):
        encode_chat_pairs([("rows:1", pair)], chat_tokenizer("qwen3"), train)
    assert len(encode_chat_pairs([("a", pair)], chat_tokenizer("qwen3"), replace_learn(train)).examples) == 2


def replace_learn(train: TrainConfig) -> TrainConfig:
    return train.model_copy(update={"learn": "last_turn"})


# Packing.


def test_a_shared_system_text_is_stored_once_in_a_pack() -> None:
    system = " ".join(f"Rule {number}: be brief." for number in range(20))
    rows = [conversation([f"A {number}?", "B.", "C?", f"D {number}."], system) for number in range(16)]
    _, dataset = encode("chatml", rows, max_length=512)
    plan = plan_run(dataset.examples, TrainConfig(batch_size=16, epochs=1, **CHAT | {"max_length": 512}), 0)
    columns = enumerate(zip(*(example.ids for example in dataset.examples), strict=False))
    head = next(place for place, column in columns if len(set(column)) > 1)
    [step] = plan.steps
    assert {example.prefix_length for example in step.examples} == {head}
    assert step.layout.tokens == step.tokens - 15 * head


def test_labels_of_every_turn_are_at_the_places_that_predict_them() -> None:
    example = Example.of_spans("rows:1", [1, 5, 6, 7, 8, 9, 2, 4], [(2, 4), (6, 7)])
    assert example == Example("rows:1", [1, 5, 6, 7, 8, 9, 2], 2, gaps=((4, 6),))
    assert example.label_spans == [(2, 4), (6, 7)] and example.response_tokens == 3
    other = Example.of_spans("rows:2", [1, 5, 6, 3, 2], [(1, 2), (4, 5)])
    batch = collate([[replace(one, prefix_length=3) for one in (example, other)]], 10, 0)
    assert batch.ids.tolist() == [[1, 5, 6, 7, 8, 9, 2, 3, 2, 0]]
    assert batch.labels.tolist() == [6, 7, 2, 5, 2]
    assert batch.label_positions.tolist() == [1, 2, 5, 0, 7]
    assert torch.equal(batch.labels[:2], batch.ids[0, batch.label_positions[:2] + 1])
