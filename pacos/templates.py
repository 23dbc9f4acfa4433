"""The formats that models are trained in: prompts and responses of tasks.

The Alpaca template is a format and kept byte for byte (stanford_alpaca `train.py`, PROMPT_DICT): nothing
trained elsewhere would compare otherwise. `### Response:` has no newline behind it, as published.
"""

import hashlib
import random
from dataclasses import dataclass

from pacos.extensions import TEMPLATES, load
from pacos.records import Task


@dataclass(frozen=True, slots=True)
class Template:
    """A training format. Its forms are (what the model reads, what its answer begins with); a row with an input takes
    one of `with_input`, drawn by its own seed where there are several.

    `chat_template` lets vLLM and transformers chat as trained: it renders `chat_prompt`, whose {instruction} is the
    last user message. `sha256` names the format's text in adapters and caches; that of its forms unless given.
    """

    name: str
    with_input: tuple[tuple[str, str], ...]
    without_input: tuple[tuple[str, str], ...]
    chat_template: str
    chat_prompt: str
    sha256: str = ""
    strips: bool = False  # white space around each field is no part of it

    def __post_init__(self) -> None:
        if not self.sha256:
            forms = repr((self.with_input, self.without_input))
            object.__setattr__(self, "sha256", hashlib.sha256(forms.encode()).hexdigest())

    def render(self, task: Task, draw: str) -> tuple[str, str]:
        """(prompt, response) of a task; `draw` seeds the choice between several forms."""
        instruction, input, output = (
            (text.strip() if self.strips else text) for text in (task.instruction, task.input, task.output)
        )
        forms = self.with_input if input else self.without_input
        prompt, start = forms[0] if len(forms) == 1 else random.Random(draw).choice(forms)
        return prompt.format(instruction=instruction, input=input), start + output


_ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
_ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)

ALPACA = Template(
    name="alpaca",
    with_input=((_ALPACA_WITH_INPUT, ""),),
    without_input=((_ALPACA_WITHOUT_INPUT, ""),),
    chat_template=(
        "{{ bos_token }}"
        "Below is an instruction that describes a task. "
        "Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{{ messages[-1]['content'] }}\n\n### Response:"
    ),
    chat_prompt=_ALPACA_WITHOUT_INPUT,
    sha256=hashlib.sha256((_ALPACA_WITH_INPUT + "\0" + _ALPACA_WITHOUT_INPUT).encode()).hexdigest(),
)

# Self-Instruct's encodings (self_instruct/prepare_for_finetuning.py).
_SELF_INSTRUCT_WITH_INPUT = (
    ("{instruction}\nInput: {input}\nOutput:", " "),
    ("{instruction}\n\nInput: {input}\n\nOutput:", " "),
    ("Task: {instruction}\nInput: {input}\nOutput:", " "),
    ("{instruction}\n\n{input}\n\nOutput:", " "),
    ("{instruction}\n\n{input}\n\n", ""),
    ("{instruction}\n{input}\n\n", ""),
    ("Task: {instruction}\n\n{input}\n\n", ""),
)
_SELF_INSTRUCT_WITHOUT_INPUT = (
    ("{instruction} Output:", " "),
    ("{instruction}\nOutput:", " "),
    ("{instruction}\n\nOutput:", " "),
    ("{instruction}\n", ""),
    ("{instruction}\n\n", ""),
    ("Task: {instruction}\n\n", ""),
)

SELF_INSTRUCT = Template(
    name="self-instruct",
    with_input=_SELF_INSTRUCT_WITH_INPUT,
    without_input=_SELF_INSTRUCT_WITHOUT_INPUT,
    # Self-Instruct's own evaluation without an input asks in this one of the thirteen.
    chat_template="{{ bos_token }}{{ messages[-1]['content'] }}\nOutput:",
    chat_prompt="{instruction}\nOutput:",
    strips=True,
)


def template(name: str) -> Template:
    """The training template of that name (extensions.TEMPLATES). Raises KeyError for an unknown one."""
    found: Template = load(TEMPLATES, name)
    return found


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """The Alpaca prompt of a task, up to where it is answered."""
    return ALPACA.render(Task(instruction, input), "")[0]
