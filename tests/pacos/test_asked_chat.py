"""The chat template that a model is asked in, and the ids at which its answers end."""

import json
from pathlib import Path
from typing import Any

import pytest

from pacos.asked_chat import asked_tokenizer, saved_chat_template, stops_of_turns
from pacos.chat_templates import CHAT_TEMPLATES
from pacos.config import Config, EvaluateConfig, ModelConfig, TrainConfig
from pacos.errors import ConfigError, DataError
from pacos.templates import ALPACA
from tests.support.chat_templates import CHAT_KINDS, chat_tokenizer

PLAIN = Config(
    name="asked", model=ModelConfig(base="owner/base"), train=TrainConfig(template="chat", chat_template="plain")
)


def saved(folder: Path, template: str) -> Path:
    folder.mkdir()
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def test_an_adapter_is_asked_in_the_template_saved_beside_it(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer("llama-3")
    adapter = saved(tmp_path / "adapter", CHAT_KINDS["chatml"].template)
    assert asked_tokenizer(tokenizer, adapter, PLAIN).chat_template == CHAT_KINDS["chatml"].template
    assert tokenizer.chat_template == CHAT_KINDS["llama-3"].template, "the caller's tokenizer stays as it was"


def test_a_model_is_asked_in_its_own_template_and_one_without_in_that_of_training(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer("llama-3")
    empty = tmp_path / "adapter"
    empty.mkdir()
    assert asked_tokenizer(tokenizer, empty, PLAIN).chat_template == CHAT_KINDS["llama-3"].template
    tokenizer.chat_template = None
    assert asked_tokenizer(tokenizer, empty, PLAIN).chat_template == CHAT_TEMPLATES["plain"]
    chatml = PLAIN.model_copy(update={"evaluate": EvaluateConfig(chat_template="chatml")})
    assert asked_tokenizer(tokenizer, empty, chatml).chat_template == CHAT_TEMPLATES["chatml"]
    assert asked_tokenizer(tokenizer, empty).chat_template is None


def test_a_template_that_is_no_file_names_its_key() -> None:
    tokenizer = chat_tokenizer("llama-3")
    tokenizer.chat_template = None
    config = PLAIN.model_copy(update={"evaluate": EvaluateConfig(chat_template="nowhere.jinja")})
    with pytest.raises(ConfigError, match=r"evaluate\.chat_template"):
        asked_tokenizer(tokenizer, config=config)


@pytest.mark.parametrize("kind", CHAT_KINDS)
def test_a_template_that_transformers_saved_is_read_as_it_was(kind: str, tmp_path: Path) -> None:
    chat_tokenizer(kind).save_pretrained(tmp_path)
    assert saved_chat_template(tmp_path) == CHAT_KINDS[kind].template


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"chat_template": "one"}, "one"),
        ({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "two"}]}, "two"),
        ({"chat_template": None}, None),
        ({}, None),
    ],
)
def test_earlier_versions_of_transformers_kept_it_in_the_tokenizers_settings(
    settings: dict[str, Any], expected: str | None, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    assert saved_chat_template(tmp_path) == expected


def test_a_broken_settings_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"tokenizer_config\.json"):
        saved_chat_template(tmp_path)


@pytest.mark.parametrize("kind", CHAT_KINDS)
def test_a_turns_end_stops_an_answer_where_it_is_not_eos(kind: str) -> None:
    """Of these, Gemma and Phi-3 end turns in another token than EOS."""
    tokenizer, end, eos = chat_tokenizer(kind), CHAT_KINDS[kind].end, CHAT_KINDS[kind].eos
    assert stops_of_turns(tokenizer) == (() if end == eos else (tokenizer.convert_tokens_to_ids(end),))


def test_what_the_models_generation_config_names_stops_without_being_asked_for(tmp_path: Path) -> None:
    tokenizer = chat_tokenizer("gemma")
    end = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, end]}), encoding="utf-8")
    tokenizer.name_or_path = str(tmp_path)
    assert stops_of_turns(tokenizer) == ()


def test_a_template_that_ends_no_turn_can_be_asked_in() -> None:
    tokenizer = chat_tokenizer("llama-3")
    tokenizer.chat_template = ALPACA.chat_template
    assert stops_of_turns(tokenizer) == ()
