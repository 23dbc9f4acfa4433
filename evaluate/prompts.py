"""Prompts that fit the model's context.

A prompt that is too long loses demonstrations first, as upstream, and then the middle of its input. Upstream cuts at
the right, and with that the `Output:` that asks for the answer.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from pacos.errors import DataError
from pacos.results.evaluation import Shortened
from pacos.superni.prompts import NO_DEMONSTRATIONS, Demonstrations, PromptPreset, prompt_preset
from pacos.superni.tasks import Instance
from pacos.tokenization import Prompt, encode_prompts

CUT = " [...] "


def count_shortened(prompts: Iterable[Prompt]) -> Shortened:
    """How many of the prompts lost a part of their input, and how many demonstrations."""
    prompts = list(prompts)
    return Shortened(sum(prompt.truncated for prompt in prompts), sum(prompt.dropped > 0 for prompt in prompts))


def fit_prompts(tokenizer: Any, preset: str, instances: Sequence[Instance], room: int) -> list[Prompt]:
    """One prompt per instance, of at most `room` tokens, in the encoding named `preset`.

    Raises DataError for an instance that does not fit even without demonstrations and input.
    """
    encoding = prompt_preset(preset)
    texts = [encoding.render(instance) for instance in instances]
    prompts = []
    for instance, text, ids in zip(instances, texts, encode_prompts(tokenizer, texts), strict=True):
        fits = len(ids) <= room
        prompts.append(Prompt(text, ids) if fits else _shortened(tokenizer, encoding, instance, room))
    return prompts


def _shortened(tokenizer: Any, encoding: PromptPreset, instance: Instance, room: int) -> Prompt:
    """With as many demonstrations as fit, in their order (ni_collator.py); without any, with a shorter input."""

    def showing(shown: Demonstrations) -> Prompt:
        text = encoding.render(instance, shown)
        return Prompt(text, encode_prompts(tokenizer, [text])[0])

    best, kept = showing(NO_DEMONSTRATIONS), replace(encoding.shown, positive=0, negative=0)
    if len(best.ids) > room:
        return replace(_cut(tokenizer, encoding, instance, room), dropped=_shown(instance, encoding.shown))
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


def _cut(tokenizer: Any, encoding: PromptPreset, instance: Instance, room: int) -> Prompt:
    """Without demonstrations, and with as many characters of the input as fit."""

    def keeping(characters: int) -> Prompt:
        kept = replace(instance, input=cut_middle(instance.input.strip(), characters))
        text = encoding.render(kept, NO_DEMONSTRATIONS)
        return Prompt(text, encode_prompts(tokenizer, [text])[0], truncated=True)

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
