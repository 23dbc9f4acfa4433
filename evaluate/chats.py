"""The chat template that each model is asked in by suites of prompt chat; all checked before anything starts."""

import logging
from collections.abc import Sequence
from typing import Any

from pacos.asked_chat import asked_tokenizer
from pacos.chat_templates import template_sha256
from pacos.config import Config, SuiteConfig
from pacos.errors import ConfigError, ModelError, PacosError
from pacos.evaluate.models import EvaluatedModel
from pacos.evaluate.prompts import prompt_encoder, suite_encoding
from pacos.models import load_tokenizer
from pacos.superni.tasks import Suite
from pacos.templates import CHAT

log = logging.getLogger("pacos")


def chat_template_hashes(
    config: Config, suites: Sequence[SuiteConfig], models: Sequence[EvaluatedModel]
) -> dict[str, str]:
    """{model's name: hash of its chat template's text}; {} without a suite of prompt chat.

    Raises ModelError for a model without a chat template, and for one whose template refuses what a suite says.
    """
    encodings = [encoding for suite in suites if (encoding := suite_encoding(suite)).is_chat]
    if not encodings:
        return {}
    bases = {one.model.base: load_tokenizer(one.model.base, config.model) for one in models}
    hashes = {}
    for one in models:
        tokenizer = _asked(one, bases[one.model.base], config)
        for encoding in encodings:
            try:
                prompt_encoder(tokenizer, encoding)(["Name two fruits."])
            except PacosError as failure:
                failure.where = f"{one.name} ({one.model})"
                if encoding.system:
                    failure.todo = "leave `system` out of the suite, or take another prompt for it"
                raise
        hashes[one.name] = template_sha256(CHAT, tokenizer)
    return hashes


def _asked(one: EvaluatedModel, base: Any, config: Config) -> Any:
    tokenizer = asked_tokenizer(base, one.model.adapter)
    if tokenizer.chat_template:
        return tokenizer
    tokenizer = asked_tokenizer(base, one.model.adapter, config)
    if not tokenizer.chat_template:
        raise ModelError(
            f"{one.name} has no chat template, and prompt chat asks each model in its own",
            where=str(one.model),
            todo="set evaluate.chat_template (plain, chatml, or a Jinja file), in which models without one are then "
            "asked, or take another prompt for the suite",
        )
    log.warning("%s has no chat template, and is asked in the one that the configuration names", one.name)
    return tokenizer


def check_demonstrations(suite_config: SuiteConfig, suite: Suite) -> None:
    """Raises ConfigError where demonstrations are asked for, and the suite has none."""
    if suite_config.demonstrations and not any(instance.positive for instance in suite.instances):
        raise ConfigError(
            f"no task of {suite_config.name} has demonstrations",
            where="evaluate.suites: demonstrations",
            todo="leave it out",
        )
