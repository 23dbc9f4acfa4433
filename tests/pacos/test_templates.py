from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from pacos.templates import ALPACA, alpaca_prompt


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


def test_the_chat_template_renders_what_was_trained(tokenizer: Any) -> None:
    messages = [{"role": "user", "content": "Say hi."}]
    text = tokenizer.apply_chat_template(messages, chat_template=ALPACA.chat_template, tokenize=False)
    assert text == tokenizer.bos_token + alpaca_prompt("Say hi.")
