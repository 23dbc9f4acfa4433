import hashlib
from pathlib import Path
from typing import Any

import pytest

from pacos.chat_templates import CHAT_TEMPLATES, chat_template_files, template_sha256, training_tokenizer
from pacos.config import Config
from pacos.errors import ConfigError
from pacos.templates import ALPACA, CHAT
from tests.support.chat_templates import chat_tokenizer
from tests.support.small_training import training_config


def config_with(base: Path, chat_template: str | None) -> Config:
    return training_config(base.parent, base, base, template="chat", chat_template=chat_template)


def test_a_base_is_given_a_template_by_name_or_from_a_file(tmp_path: Path, tiny_base: Path) -> None:
    (tmp_path / "own.jinja").write_text("{{ messages[0].content }}é", encoding="utf-8")
    for name, expected in (
        ("plain", CHAT_TEMPLATES["plain"]),
        (str(tmp_path / "own.jinja"), "{{ messages[0].content }}é"),
        (None, None),
    ):
        config = config_with(tiny_base, name)
        assert training_tokenizer(config).chat_template == expected
        assert chat_template_files(config) == [tmp_path / "own.jinja"] * bool(name and name.endswith("jinja"))


def test_a_template_that_is_neither_a_name_nor_a_file_is_refused(tiny_base: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.chat_template: 'lama' is no file\n.*chatml, plain"):
        training_tokenizer(config_with(tiny_base, "lama"))


def test_the_hash_of_a_chat_is_that_of_the_tokenizers_own_template() -> None:
    tokenizer: Any = chat_tokenizer("chatml")
    expected = hashlib.sha256(tokenizer.chat_template.encode()).hexdigest()
    assert template_sha256(CHAT, tokenizer) == expected
    assert template_sha256(ALPACA, tokenizer) == ALPACA.sha256
