"""A chat template on a tiny model or adapter, as training with template `chat` leaves it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from tests.support.tiny_llama import write_adapter

# Two templates of the tiny Llama's tokenizer, which has BOS and EOS alone.
OWN = (
    "{{ bos_token }}{% for m in messages %}<{{ m.role }}> {{ m.content }}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
OTHER = OWN.replace("<assistant>", "<bot>").replace("<{{ m.role }}>", "<bot>")


def with_template(folder: Path, template: str) -> Path:
    """The folder, with a chat template beside the weights."""
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    return folder


def write_chat_adapter(base: Path, folder: Path, template: str, *, trained_in: str | None = None) -> Path:
    """An adapter of template `chat`, with `template` beside it; pacos.json says that it was `trained_in` another."""
    adapter = with_template(write_adapter(base, folder, 0.3, 3), template)
    sha256 = hashlib.sha256((trained_in or template).encode()).hexdigest()
    origin = {"base": str(base), "base_sha256": "", "template": "chat", "template_sha256": sha256}
    (adapter / "pacos.json").write_text(json.dumps(origin), encoding="utf-8")
    return adapter


def rendered(tokenizer: Any, *turns: tuple[str, str]) -> list[int]:
    """What transformers makes of a chat whose next turn is the model's."""
    chat = [{"role": role, "content": text} for role, text in turns]
    return list(tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False))
