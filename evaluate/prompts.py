"""Instances as token ids that fit the model's context, the answer's cue always whole.

A prompt that is too long loses the middle of its input. Upstream cuts at the right, and with it the `Output:`
that asks for the answer.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.errors import DataError
from pacos.superni import Instance, render
from pacos.templates import encode_prompts

CUT = " [...] "


@dataclass(frozen=True, slots=True)
class Prompt:
    text: str
    ids: list[int]
    truncated: bool = False

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "backslashreplace")).hexdigest()


def fit_prompts(tokenizer: Any, preset: str, instances: Sequence[Instance], room: int) -> list[Prompt]:
    """One prompt per instance, of at most `room` tokens.

    Raises DataError for an instance that does not fit even without its input.
    """
    texts = [render(preset, instance.definition, instance.input) for instance in instances]
    prompts = []
    for instance, text, ids in zip(instances, texts, encode_prompts(tokenizer, texts), strict=True):
        fits = len(ids) <= room
        prompts.append(Prompt(text, ids) if fits else _truncated(tokenizer, preset, instance, room))
    return prompts


def _truncated(tokenizer: Any, preset: str, instance: Instance, room: int) -> Prompt:
    """The longest that fits, by bisection over the characters of the input that stay."""

    def keeping(characters: int) -> Prompt:
        text = render(preset, instance.definition, cut_middle(instance.input.strip(), characters))
        return Prompt(text, encode_prompts(tokenizer, [text])[0], truncated=True)

    best = keeping(0)
    if len(best.ids) > room:
        raise DataError(
            f"the prompt of {instance.task} takes {len(best.ids)} tokens before its input; there is room for {room}",
            where="evaluate.suites",
            todo="raise engine.args.max_model_len, lower the suite's max_tokens, or take a model with a longer context",
        )
    fits, too_many = 0, len(instance.input)
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        candidate = keeping(middle)
        if len(candidate.ids) <= room:
            fits, best = middle, candidate
        else:
            too_many = middle
    return best


def cut_middle(text: str, characters: int) -> str:
    """The first and the last of the text, `characters` in all, with a mark between them."""
    head = (characters + 1) // 2
    tail = characters - head
    return text[:head] + CUT + text[len(text) - tail :]
