"""Finds the chat template in which a model is asked, which an adapter has beside its weights, and what ends answers."""

import copy
from pathlib import Path
from typing import Any

from pacos.chat import SAMPLE, ChatEncoder
from pacos.chat_templates import named_template
from pacos.config import Config
from pacos.errors import DataError, ModelError
from pacos.files import read_object
from pacos.json_text import read_text


def saved_chat_template(folder: Path) -> str | None:
    """The text of the chat template beside weights, as transformers saves it; None where there is none.

    Raises ModelError for a file that cannot be read, DataError for a tokenizer_config.json that is no JSON object.
    """
    if (folder / "chat_template.jinja").is_file():
        return read_text(folder / "chat_template.jinja", ModelError)
    settings = folder / "tokenizer_config.json"
    found = read_object(settings, todo="copy the folder again").get("chat_template") if settings.is_file() else None
    if isinstance(found, list):  # several, by name
        found = next((one.get("template") for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) and found else None


def asked_tokenizer(tokenizer: Any, adapter: Path | None = None, config: Config | None = None) -> Any:
    """A copy of a base's tokenizer with the chat template in which the base, or the `adapter` on it, is asked.

    That is the one saved beside the adapter, else the base's own, else the configuration's (`evaluate.chat_template`,
    `train.chat_template`); None where there is none of these. Raises ModelError and DataError as `saved_chat_template`,
    ConfigError as `named_template`.
    """
    asked = copy.copy(tokenizer)
    if adapter and (saved := saved_chat_template(adapter)):
        asked.chat_template = saved
    elif not asked.chat_template and config:
        asked.chat_template = _configured(config)
    return asked


def _configured(config: Config) -> str | None:
    for key, name in (
        ("evaluate.chat_template", config.evaluate.chat_template),
        ("train.chat_template", config.train.chat_template),
    ):
        if name:
            return named_template(name, key)
    return None


def stops_of_turns(tokenizer: Any) -> tuple[int, ...]:
    """Ids that end a turn in the chat template, and at which a server stops only if it is told to.

    () for a template that says nothing of them, as that of a model whose answers end in EOS.
    """
    encoder = ChatEncoder(tokenizer)
    try:
        encoder.turns([("the chat template", SAMPLE)])
    except (ModelError, DataError):  # It cannot be trained in; it can be asked in.
        return ()
    return tuple(sorted(encoder.ends - encoder.stops))
