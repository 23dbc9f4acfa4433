"""Encodings of SuperNI's instances as prompts: Tk-Instruct's, byte for byte, and two others.

    prompt_preset("tk-instruct:def+pos2").render(instance)

`tk-instruct:…` are Tk-Instruct's (src/ni_collator.py): the definition, then demonstrations from the task's header.
`self-instruct` is the zero-shot form of that paper's released prompts, `alpaca` that of Stanford's training template.
`chat` is what a user says to a chat model; each model's own chat template stands around it.
"""

import hashlib
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pacos.extensions import PROMPTS, load
from pacos.superni.tasks import Demonstration, Instance
from pacos.templates import ALPACA, alpaca_prompt, chat_turn


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """How many demonstrations of each kind a prompt shows, and whether it explains them."""

    positive: int = 0
    negative: int = 0
    explained: bool = False


NO_DEMONSTRATIONS = Demonstrations()


@dataclass(frozen=True, slots=True)
class PromptPreset:
    """An encoding of instances as a causal model is prompted with them.

    `shown` are its demonstrations, `answer_tokens` and `source_tokens` the published limits of an answer and of a
    prompt (0: none). `known_sha256` replaces the fingerprint of the rendered text where trained adapters carry another.
    `is_chat`: what is rendered is the user's turn, behind the text `system` where there is one.
    """

    form: Callable[[Instance, Demonstrations], str]
    shown: Demonstrations = NO_DEMONSTRATIONS
    answer_tokens: int = 128
    source_tokens: int = 0
    known_sha256: str = ""
    is_chat: bool = False
    system: str = ""

    def render(self, instance: Instance, shown: Demonstrations | None = None) -> str:
        """The prompt of one instance; `shown` leaves out demonstrations that do not fit."""
        return self.form(instance, shown or self.shown)

    @property
    def sha256(self) -> str:
        """Fingerprint of the format; for `alpaca` the one that a trained adapter carries, for a chat also of its system
        text."""
        if self.known_sha256:
            return self.known_sha256
        examples = (Demonstration("{input}", "{output}", "{explanation}"),) * max(2, self.shown.positive)
        rendered = [
            self.render(Instance("", "", "", "{definition}", question, (), examples, examples))
            for question in ("{input}", "")
        ]
        if self.is_chat:
            rendered.append(self.system)
        return hashlib.sha256("\0".join(rendered).encode()).hexdigest()


def prompt_preset(name: str) -> PromptPreset:
    """The encoding of that name (extensions.PROMPTS). Raises KeyError for an unknown one."""
    found: PromptPreset = load(PROMPTS, name)
    return found


def _alpaca(instance: Instance, _: Demonstrations) -> str:
    return alpaca_prompt(instance.definition.strip(), instance.input.strip())


def _self_instruct(instance: Instance, _: Demonstrations) -> str:
    definition, question = instance.definition.strip(), instance.input.strip()
    return f"{definition}\n\nInput: {question}\nOutput:" if question else f"{definition}\nOutput:"


def _chat(instance: Instance, shown: Demonstrations) -> str:
    """Without demonstrations, the user's turn that the training template `chat` makes of a task."""
    definition, question = instance.definition.strip(), instance.input.strip()
    examples = instance.positive[: shown.positive]
    if not examples:
        return chat_turn(definition, question)
    asked = [f"Input: {one.input.strip()}\nOutput: {one.output.strip()}" for one in examples]
    return "\n\n".join([definition, *asked, f"Input: {question}\nOutput:"])


def _tk_instruct_causal(instance: Instance, shown: Demonstrations) -> str:
    """Tk-Instruct's without the space behind `Output:`, as in its own script for causal models (run_gpt3.py): a model
    whose tokens begin with a space could not continue it with the token that it was trained on."""
    return tk_instruct(instance, shown).rstrip()


def tk_instruct(instance: Instance, shown: Demonstrations) -> str:
    """Tk-Instruct's encoding for its own encoder-decoder models, with its trailing space."""
    return (
        _sentence(f"Definition: {instance.definition.strip()}")
        + "\n\n"
        + _demonstrations("Positive", instance.positive[: shown.positive], shown.explained)
        + _demonstrations("Negative", instance.negative[: shown.negative], shown.explained)
        + "Now complete the following example -\n"
        + _sentence(f"Input: {instance.input.strip()}")
        + "\nOutput: "
    )


def _demonstrations(kind: str, examples: Sequence[Demonstration], explained: bool) -> str:
    """The leading spaces are upstream's."""
    text = ""
    for number, example in enumerate(examples, 1):
        text += f" {kind} Example {number} -\n"
        text += _sentence(f"Input: {example.input.strip()}") + "\n"
        text += _sentence(f" Output: {example.output.strip()}") + "\n"
        if explained and example.explanation is not None:
            text += _sentence(f" Explanation: {example.explanation.strip()}") + "\n"
        text += "\n"
    return text


def _sentence(text: str) -> str:
    return text if text[-1] in string.punctuation else f"{text}."


ALPACA_PROMPT = PromptPreset(_alpaca, known_sha256=ALPACA.sha256)
SELF_INSTRUCT_PROMPT = PromptPreset(_self_instruct, answer_tokens=1024)

CHAT_PROMPT = PromptPreset(_chat, is_chat=True)


def _tk_instruct_preset(shown: Demonstrations) -> PromptPreset:
    """`max_source_length` of Tk-Instruct's scripts is 1,024 tokens."""
    return PromptPreset(_tk_instruct_causal, shown, source_tokens=1024)


DEFINITION = _tk_instruct_preset(NO_DEMONSTRATIONS)
TWO_POSITIVE = _tk_instruct_preset(Demonstrations(positive=2))
TWO_NEGATIVE = _tk_instruct_preset(Demonstrations(positive=2, negative=2))
EXPLAINED = _tk_instruct_preset(Demonstrations(positive=2, negative=2, explained=True))
