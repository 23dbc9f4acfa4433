"""The formats that models are trained in: prompts and responses of tasks.

The Alpaca template is a format and kept byte for byte (stanford_alpaca `train.py`, PROMPT_DICT): nothing
trained elsewhere would compare otherwise. `### Response:` has no newline behind it, as published.
"""

import hashlib
import random
import re
from dataclasses import dataclass

from pacos.extensions import TEMPLATES, load
from pacos.records import Task

# Self-Instruct's sign of a field in an input.
_FIELD_NAME = re.compile(r"(\w+):")


@dataclass(frozen=True, slots=True)
class Template:
    """A training format. Its forms are (what the model reads, what its answer begins with); a row with an input takes
    one of `with_input`, drawn by its own seed where there are several.

    `chat_template` lets vLLM and transformers chat as trained: it renders `chat_prompt`, whose {instruction} is the
    last user message. `sha256` names the format's text in adapters; that of its forms unless given.
    """

    name: str
    with_input: tuple[tuple[str, str], ...]
    without_input: tuple[tuple[str, str], ...]
    chat_template: str
    chat_prompt: str
    sha256: str = ""
    strips: bool = False  # white space around each field is no part of it
    simplifies_inputs: bool = False  # half of the rows, by their own seeds, show `simplified(input)`
    drops_duplicates: bool = False  # rows whose prompt and response are an earlier row's are not trained on
    is_chat: bool = False  # prompts are the user's turns of the tokenizer's own chat template (pacos/chat.py)

    def __post_init__(self) -> None:
        if not self.sha256:
            forms = repr((self.with_input, self.without_input))
            object.__setattr__(self, "sha256", hashlib.sha256(forms.encode()).hexdigest())

    @property
    def rendering(self) -> str:
        """Names all that decides `render`, for caches."""
        return f"{self.sha256} simplified" if self.simplifies_inputs else self.sha256

    @property
    def _varies(self) -> bool:
        return self.simplifies_inputs or max(len(self.with_input), len(self.without_input)) > 1

    def render(self, task: Task, draw: str) -> tuple[str, str]:
        """(prompt, response) of a task; `draw` seeds the choice between several forms, and whether inputs are
        simplified where the template does that."""
        instruction, input, output = (
            (text.strip() if self.strips else text) for text in (task.instruction, task.input, task.output)
        )
        chance = random.Random(draw) if self._varies else None  # seeding takes longer than all else here
        if chance and self.simplifies_inputs and chance.random() < 0.5:
            input = simplified(input)
        forms = self.with_input if input else self.without_input
        prompt, start = chance.choice(forms) if chance else forms[0]
        return prompt.format(instruction=instruction, input=input), start + output


def simplified(input: str) -> str:
    """The input without its field name where it has only one ("Sentence: …"), and with double line breaks made single:
    self-instruct `prepare_for_finetuning.py`.

    As published, any word before a colon is taken for a field name, the 10 of "at 10:30" as well, and all up to the
    first colon goes.
    """
    if len(set(_FIELD_NAME.findall(input))) == 1:
        input = input.partition(":")[2]
    return input.strip().replace("\n\n", "\n")


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
    simplifies_inputs=True,
    drops_duplicates=True,
)

# Its prompts are what the user says. The text around them is the tokenizer's chat template.
CHAT = Template(
    name="chat",
    with_input=(("{instruction}\n\n{input}", ""),),
    without_input=(("{instruction}", ""),),
    chat_template="",
    chat_prompt="{instruction}",
    is_chat=True,
)


def template(name: str) -> Template:
    """The training template of that name (extensions.TEMPLATES). Raises KeyError for an unknown one."""
    found: Template = load(TEMPLATES, name)
    return found


def chat_turn(instruction: str, input: str = "") -> str:
    """What the user of a chat says to give a task."""
    return CHAT.render(Task(instruction, input), "")[0]


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """The Alpaca prompt of a task, up to where it is answered."""
    return ALPACA.render(Task(instruction, input), "")[0]
