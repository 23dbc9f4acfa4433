from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from pacos.templates import ALPACA, alpaca_prompt
from pacos.tokenization import encode_prompts, encode_responses


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path) -> Any:
    return AutoTokenizer.from_pretrained(tiny_base)


def test_the_alpaca_format_is_byte_for_byte() -> None:
    assert alpaca_prompt("Add.", "1 1") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 1\n\n### Response:"
    )
    assert alpaca_prompt("Say hi.") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\nSay hi.\n\n### Response:"
    )


def test_braces_in_a_task_stay_as_they_are() -> None:
    assert "### Instruction:\nFormat {x} as {0}.\n" in alpaca_prompt("Format {x} as {0}.", "{y}")


def test_prompts_get_exactly_one_bos(tokenizer: Any) -> None:
    ids = encode_prompts(tokenizer, ["Hello", "<s>Hello"])
    assert [row.count(tokenizer.bos_token_id) for row in ids] == [1, 1]
    assert all(row[0] == tokenizer.bos_token_id for row in ids)


def test_a_tokenizer_that_adds_bos_twice_is_mended(tokenizer: Any) -> None:
    class Doubling:
        bos_token_id, eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id

        def __call__(self, text: list[str], **options: Any) -> dict[str, list[list[int]]]:
            rows = tokenizer(text, **options)["input_ids"]
            return {"input_ids": [[self.bos_token_id, *row, self.eos_token_id] for row in rows]}

    assert encode_prompts(Doubling(), ["Hello"]) == encode_prompts(tokenizer, ["Hello"])


def test_text_that_spells_a_special_token_stays_text(tokenizer: Any) -> None:
    for rows in (encode_prompts(tokenizer, ["a </s> b"]), encode_responses(tokenizer, ["a </s> b"])):
        assert tokenizer.eos_token_id not in rows[0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["<s>", "</s>", "<unk>", " "]) | st.text()).map("".join)))
def test_ids_are_those_of_the_tokenizers_own_call(tokenizer: Any, texts: list[str]) -> None:
    def called(**options: bool) -> Any:
        return tokenizer(texts, split_special_tokens=True, **options)["input_ids"] if texts else []

    assert encode_prompts(tokenizer, texts) == called()
    assert encode_responses(tokenizer, texts) == called(add_special_tokens=False)


def test_a_tokenizer_whose_file_cuts_and_pads_does_neither(tokenizer: Any) -> None:
    texts = ["Hello", "the quick brown fox"]
    expected = encode_prompts(tokenizer, texts)
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    assert encode_prompts(tokenizer, texts) == expected


def test_responses_carry_no_special_tokens(tokenizer: Any) -> None:
    (ids,) = encode_responses(tokenizer, ["Hello"])
    assert tokenizer.decode(ids) == "Hello"
    assert not set(ids) & {tokenizer.bos_token_id, tokenizer.eos_token_id}


def test_the_chat_template_renders_what_was_trained(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Say hi."}]
    text = tokenizer.apply_chat_template(messages, chat_template=ALPACA.chat_template, tokenize=False)
    assert text == tokenizer.bos_token + alpaca_prompt("Say hi.")
