"""Prompts that fit the model's context.

A prompt that is too long loses demonstrations first, as upstream, and then the middle of its input. Upstream cuts at
the right, and with that the `Output:` that asks for the answer. Of a chat, a prompt's text is the user's turn, and its
ids are those of the whole chat.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from pacos.chat import ChatEncoder
from pacos.config import SuiteConfig
from pacos.conversations import Message
from pacos.errors import DataError
from pacos.results.evaluation import Shortened
from pacos.superni.prompts import NO_DEMONSTRATIONS, Demonstrations, PromptPreset, prompt_preset
from pacos.superni.tasks import Instance
from pacos.tokenization import Prompt, encode_prompts

CUT = " [...] "

Encode = Callable[[Sequence[str]], list[list[int]]]


def suite_encoding(suite: SuiteConfig) -> PromptPreset:
    """How a suite's instances are put to a model; a chat with the suite's own system text and demonstrations."""
    preset = prompt_preset(suite.prompt)
    if not preset.is_chat:
        return preset
    return replace(preset, system=suite.system or "", shown=Demonstrations(positive=suite.demonstrations))


def prompt_encoder(tokenizer: Any, encoding: PromptPreset) -> Encode:
    """What gives prompts of an encoding their token ids; those of a chat by the tokenizer's own chat template.

    Raises ModelError for a tokenizer without one. What is returned raises as `ChatEncoder.prompts`.
    """
    if not encoding.is_chat:
        return partial(encode_prompts, tokenizer)
    encoder = ChatEncoder(tokenizer)
    before = (Message("system", encoding.system),) if encoding.system else ()

    def encode(texts: Sequence[str]) -> list[list[int]]:
        chats = [(f"prompt {number}", (*before, Message("user", text))) for number, text in enumerate(texts, 1)]
        return encoder.prompts(chats)

    return encode


def count_shortened(prompts: Iterable[Prompt]) -> Shortened:
    """How many of the prompts lost a part of their input, and how many demonstrations."""
    prompts = list(prompts)
    return Shortened(sum(prompt.truncated for prompt in prompts), sum(prompt.dropped > 0 for prompt in prompts))


def fit_prompts(tokenizer: Any, encoding: PromptPreset, instances: Sequence[Instance], room: int) -> list[Prompt]:
    """One prompt per instance, of at most `room` tokens.

    Raises DataError for an instance that does not fit even without demonstrations and input, ModelError as
    `prompt_encoder`.
    """
    encode = prompt_encoder(tokenizer, encoding)
    texts = [encoding.render(instance) for instance in instances]
    return [
        Prompt(text, ids) if len(ids) <= room else _shortened(encode, encoding, instance, room)
        for instance, text, ids in zip(instances, texts, encode(texts), strict=True)
    ]


def _shortened(encode: Encode, encoding: PromptPreset, instance: Instance, room: int) -> Prompt:
    """With as many demonstrations as fit, in their order (ni_collator.py); without any, with a shorter input."""

    def showing(shown: Demonstrations) -> Prompt:
        text = encoding.render(instance, shown)
        return Prompt(text, encode([text])[0])

    best, kept = showing(NO_DEMONSTRATIONS), replace(encoding.shown, positive=0, negative=0)
    if len(best.ids) > room:
        return replace(_cut(encode, encoding, instance, room), dropped=_shown(instance, encoding.shown))
    for kind in ("positive", "negative"):
        for count in range(1, getattr(encoding.shown, kind) + 1):
            more = replace(kept, positive=count) if kind == "positive" else replace(kept, negative=count)
            candidate = showing(more)
            if len(candidate.ids) > room:
                break
            best, kept = candidate, more
    return replace(best, dropped=_shown(instance, encoding.shown) - _shown(instance, kept))


def _shown(instance: Instance, wanted: Demonstrations) -> int:
    return len(instance.positive[: wanted.positive]) + len(instance.negative[: wanted.negative])


def _cut(encode: Encode, encoding: PromptPreset, instance: Instance, room: int) -> Prompt:
    """Without demonstrations, and with as many characters of the input as fit."""

    def keeping(characters: int) -> Prompt:
        kept = replace(instance, input=cut_middle(instance.input.strip(), characters))
        text = encoding.render(kept, NO_DEMONSTRATIONS)
        return Prompt(text, encode([text])[0], truncated=True)

    best, shortest = longest_fit(keeping, len(instance.input), room)
    if best is None:
        raise DataError(
            f"the prompt of {instance.task} takes {shortest} tokens before its input; there is room for {room}",
            where="evaluate.suites",
            todo="raise max_source_tokens of the suite or engine.args.max_model_len, lower its max_tokens, or take "
            "a model with a longer context",
        )
    return best


def longest_fit(keeping: Callable[[int], Prompt], most: int, room: int) -> tuple[Prompt | None, int]:
    """Find, by bisection, the prompt that keeps the most characters, fewer than `most`, in at most `room` tokens.

    Returns it, None if none fits, and the number of tokens of the prompt that keeps no characters.
    """
    best = keeping(0)
    shortest = len(best.ids)
    if shortest > room:
        return None, shortest
    fits, too_many = 0, most
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        candidate = keeping(middle)
        if len(candidate.ids) <= room:
            fits, best = middle, candidate
        else:
            too_many = middle
    return best, shortest


def cut_middle(text: str, characters: int) -> str:
    """The first and the last characters of the text, `characters` in all, with a mark between them."""
    head = (characters + 1) // 2
    tail = characters - head
    return text[:head] + CUT + text[len(text) - tail :]
