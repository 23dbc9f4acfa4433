from pathlib import Path

import pytest
from transformers import AutoTokenizer

from pacos.templates import ALPACA_CHAT_TEMPLATE, alpaca_prompt, encode_prompts, encode_responses


@pytest.fixture(scope="module")
def tokenizer(tiny_base: Path):
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


def test_prompts_get_exactly_one_bos(tokenizer) -> None:
    ids = encode_prompts(tokenizer, ["Hello", "<s>Hello"])
    assert [row.count(tokenizer.bos_token_id) for row in ids] == [1, 1]
    assert all(row[0] == tokenizer.bos_token_id for row in ids)


def test_a_tokenizer_that_adds_bos_twice_is_mended(tokenizer) -> None:
    class Doubling:
        bos_token_id, eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id

        def __call__(self, texts, **options):
            rows = tokenizer(texts, **options)["input_ids"]
            return {"input_ids": [[self.bos_token_id, *row, self.eos_token_id] for row in rows]}

    assert encode_prompts(Doubling(), ["Hello"]) == encode_prompts(tokenizer, ["Hello"])


def test_text_that_spells_a_special_token_stays_text(tokenizer) -> None:
    for rows in (encode_prompts(tokenizer, ["a </s> b"]), encode_responses(tokenizer, ["a </s> b"])):
        assert tokenizer.eos_token_id not in rows[0]


def test_responses_carry_no_special_tokens(tokenizer) -> None:
    (ids,) = encode_responses(tokenizer, ["Hello"])
    assert tokenizer.decode(ids) == "Hello"
    assert not set(ids) & {tokenizer.bos_token_id, tokenizer.eos_token_id}


def test_the_chat_template_renders_what_was_trained(tokenizer) -> None:
    messages = [{"role": "user", "content": "Say hi."}]
    text = tokenizer.apply_chat_template(messages, chat_template=ALPACA_CHAT_TEMPLATE, tokenize=False)
    assert text == tokenizer.bos_token + alpaca_prompt("Say hi.")
