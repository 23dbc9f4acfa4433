"""What is asked of a judge: which answers, in which order, how often, and as token ids that fit its context."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

from pacos.errors import ConfigError, DataError
from pacos.evaluate.judge.answers import Answer, Answers
from pacos.evaluate.judge.prompts import Kind, Write, write_pair, write_single
from pacos.evaluate.prompts import cut_middle, longest_fit
from pacos.templates import Prompt, alpaca_prompt, encode_chats, encode_prompts


@dataclass(frozen=True, slots=True)
class Question:
    """One judgement to ask for; the fields are those of `Judgement`."""

    item: str
    model: str
    against: str
    sample: int
    repeat: int
    write: Write

    @property
    def key(self) -> tuple[str, str, str, int, int]:
        return self.item, self.model, self.against, self.sample, self.repeat

    @property
    def sha256(self) -> str:
        """Of the whole prompt as written, task and answers."""
        return hashlib.sha256(self.write(lambda text: text).encode("utf-8", "backslashreplace")).hexdigest()


def ask_about(kind: Kind, answers: Answers, samples: int) -> list[Question]:
    """Additive: `samples` times each answer. Rubric: once. Pairwise: every model against the first, in both orders."""
    if kind == "pairwise":
        return list(_pairs(answers))
    repeats = range(samples if kind == "additive" else 1)
    return [
        Question(one.item, one.model, "", one.sample, repeat, write_single(kind, one))
        for one, repeat in product(answers.answers, repeats)
    ]


def _pairs(answers: Answers) -> Iterator[Question]:
    by_model: dict[str, dict[tuple[str, int], Answer]] = {model: {} for model in answers.models}
    for answer in answers.answers:
        by_model[answer.model][answer.item, answer.sample] = answer
    baseline, *others = by_model
    if not others:
        raise DataError("a comparison needs two models or more", todo="name more answers by --answers")
    for other in others:
        if odd := sorted(by_model[baseline].keys() ^ by_model[other].keys()):
            raise DataError(
                f"{baseline!r} and {other!r} answer different items; {len(odd)} are answered by one of them only, "
                f"the first of them {odd[0][0]!r}"
            )
        for (item, sample), theirs in by_model[other].items():
            ours = by_model[baseline][item, sample]
            yield Question(item, other, baseline, sample, 0, write_pair(ours, theirs))
            yield Question(item, other, baseline, sample, 1, write_pair(theirs, ours))


def fit(write: Write, template: str, tokenizer: Any, room: int) -> Prompt:
    """The prompt in at most `room` tokens, its texts without their middle where it is too long.

    Raises ConfigError where it does not fit without any text either.
    """

    def rendered(shorten: Callable[[str], str], truncated: bool) -> Prompt:
        text = write(shorten)
        if template == "chat":
            return Prompt(text, encode_chats(tokenizer, [text])[0], truncated)
        return Prompt(text, encode_prompts(tokenizer, [alpaca_prompt(text)])[0], truncated)

    def keeping(characters: int) -> Prompt:
        return rendered(lambda text: text if len(text) <= characters else cut_middle(text, characters), True)

    whole = rendered(lambda text: text, False)
    if len(whole.ids) <= room:
        return whole
    best, shortest = longest_fit(keeping, len(whole.text), room)
    if best is None:
        raise ConfigError(
            f"the judge's prompt takes {shortest} tokens without any text to judge; there is room for {room}",
            where="evaluate.judge",
            todo="raise engine.args.max_model_len, or take a judge with a longer context",
        )
    return best
