"""SuperNI's prompt encodings, byte for byte: nothing measured elsewhere would compare otherwise.

    render("tk-instruct:def+pos2", instance)

`tk-instruct:…` are Tk-Instruct's (src/ni_collator.py): the definition, then demonstrations from the task's header.
`self-instruct` is the zero-shot form of that paper's released prompts, `alpaca` that of Stanford's training template.
"""

import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass

from pacos.superni.tasks import Example, Instance
from pacos.templates import ALPACA, alpaca_prompt


@dataclass(frozen=True, slots=True)
class Demonstrations:
    """How many examples of each kind an encoding shows, and whether it says why."""

    positive: int = 0
    negative: int = 0
    explained: bool = False


NONE = Demonstrations()

PRESETS = {
    "alpaca": NONE,
    "self-instruct": NONE,
    "tk-instruct:def": NONE,
    "tk-instruct:def+pos2": Demonstrations(positive=2),
    "tk-instruct:def+pos2+neg2": Demonstrations(positive=2, negative=2),
    "tk-instruct:def+pos2+neg2+expl": Demonstrations(positive=2, negative=2, explained=True),
}


def render(preset: str, instance: Instance, shown: Demonstrations | None = None) -> str:
    """The prompt of one instance, as a causal model reads it; `shown` leaves out demonstrations, for want of room.

    Tk-Instruct's lose the space behind `Output:`, as in its own script for causal models (run_gpt3.py): a model
    whose tokens begin with a space could not continue it with the token it learnt.
    """
    definition, question = instance.definition.strip(), instance.input.strip()
    if preset == "alpaca":
        return alpaca_prompt(definition, question)
    if preset == "self-instruct":
        return f"{definition}\n\nInput: {question}\nOutput:" if question else f"{definition}\nOutput:"
    return tk_instruct(instance, shown or PRESETS[preset]).rstrip()


def tk_instruct(instance: Instance, shown: Demonstrations) -> str:
    """Tk-Instruct's encoding as its own models read it, trailing space and all."""
    return (
        _sentence(f"Definition: {instance.definition.strip()}")
        + "\n\n"
        + _demonstrations("Positive", instance.positive[: shown.positive], shown.explained)
        + _demonstrations("Negative", instance.negative[: shown.negative], shown.explained)
        + "Now complete the following example -\n"
        + _sentence(f"Input: {instance.input.strip()}")
        + "\nOutput: "
    )


def preset_sha256(preset: str) -> str:
    """Fingerprint of a preset's format; for `alpaca` the one that a trained adapter carries."""
    if preset == "alpaca":
        return ALPACA.sha256
    examples = (Example("{input}", "{output}", "{explanation}"),) * 2
    rendered = [
        render(preset, Instance("", "", "", "{definition}", question, (), examples, examples))
        for question in ("{input}", "")
    ]
    return hashlib.sha256("\0".join(rendered).encode()).hexdigest()


def _demonstrations(kind: str, examples: Sequence[Example], explained: bool) -> str:
    """The spaces at the beginning of lines are upstream's."""
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
