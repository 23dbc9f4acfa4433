"""Chat templates: a tokenizer's own, or one that is given to a base without (`train.chat_template`)."""

import hashlib
import os
from pathlib import Path
from typing import Any

from pacos.config import Config, TrainConfig
from pacos.errors import ConfigError
from pacos.json_text import read_text
from pacos.models import load_tokenizer
from pacos.templates import Template

# Templates by name. `plain` needs no token but EOS, which every base has.
CHAT_TEMPLATES = {
    "chatml": (
        "{{ bos_token }}{% for message in messages %}"
        "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
        "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    ),
    "plain": (
        "{{ bos_token }}{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content'] }}\n\n"
        "{% elif message['role'] == 'user' %}User: {{ message['content'] }}\n"
        "{% else %}Assistant: {{ message['content'] }}{{ eos_token }}\n"
        "{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
    ),
}


def training_tokenizer(config: Config) -> Any:
    """The tokenizer of the model that is tuned, with `train.chat_template` where that is set.

    Raises ModelError as `load_tokenizer`, ConfigError for a template that is neither a known name nor a file.
    """
    return with_template(load_tokenizer(config.student, config.model), config.train)


def with_template(tokenizer: Any, train: TrainConfig) -> Any:
    """The tokenizer, whose chat template is `train.chat_template` where that is set. Raises as `training_tokenizer`."""
    if train.chat_template:
        tokenizer.chat_template = named_template(train.chat_template, "train.chat_template")
    return tokenizer


def named_template(name: str, key: str) -> str:
    """The text of a template: a known name, or a file. Raises ConfigError, naming the `key`, for any other."""
    if name in CHAT_TEMPLATES:
        return CHAT_TEMPLATES[name]
    if not os.path.isfile(os.path.expanduser(name)):
        known = ", ".join(CHAT_TEMPLATES)
        raise ConfigError(f"{name!r} is no file", where=key, todo=f"name a Jinja file, or one of {known}")
    return read_text(Path(name).expanduser(), ConfigError)


def chat_template_files(config: Config) -> list[Path]:
    """The file of `train.chat_template`, if it is one."""
    name = config.train.chat_template
    return [Path(name).expanduser()] if name and name not in CHAT_TEMPLATES else []


def template_sha256(form: Template, tokenizer: Any) -> str:
    """Hash of the text that a model is trained in: of the tokenizer's chat template for the form `chat`."""
    if not form.is_chat:
        return form.sha256
    return chat_template_sha256(tokenizer.get_chat_template() if tokenizer.chat_template else "")


def chat_template_sha256(text: str) -> str:
    """Hash of a chat template's text, which is "" where there is none."""
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
