"""Renders prompts and turns them into token ids: the same code for training, generation and evaluation.

The Alpaca template is a format and kept byte for byte (stanford_alpaca `train.py`, PROMPT_DICT): nothing
trained elsewhere would compare otherwise. `### Response:` has no newline behind it, as published.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Protocol

from pacos.errors import ModelError
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


# Text that spells a special token stays text. Masks that nobody reads are not made.
IDS_ONLY = {
    "split_special_tokens": True,
    "return_attention_mask": False,
    "return_token_type_ids": False,
    "verbose": False,
}

# Where a message goes in a rendered chat template: characters that no text holds.
_MESSAGE = "\ue000message\ue001"


class Tokenizer(Protocol):
    """What this module needs of a transformers tokenizer."""

    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: Any, **options: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt. `truncated`: its input has lost its middle; `dropped`: demonstrations left out."""

    text: str
    ids: list[int]
    truncated: bool = False
    dropped: int = 0

    @property
    def shortened(self) -> bool:
        """Whether something was left out so that it fits."""
        return self.truncated or self.dropped > 0

    @property
    def sha256(self) -> str:
        """Hash of the text; names the prompt in journals."""
        return hashlib.sha256(self.text.encode("utf-8", "backslashreplace")).hexdigest()


def alpaca_prompt(instruction: str, input: str = "") -> str:
    """The Alpaca prompt of a task, up to where it is answered."""
    return ALPACA.render(Task(instruction, input), "")[0]


def encode_prompts(tokenizer: Tokenizer, prompts: list[str]) -> list[list[int]]:
    """Token ids of whole prompts: the tokenizer's own BOS once (none where it has none) and no EOS.

    A server fed the same text as plain text tokenises it alike. Text that spells a special token stays text.
    """
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    encoded = _token_ids(tokenizer, prompts, special=True)
    for ids in encoded:
        while len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos:
            del ids[0]
        if eos is not None and eos != bos and ids and ids[-1] == eos:
            del ids[-1]
    return encoded


def encode_chats(tokenizer: Any, messages: list[str]) -> list[list[int]]:
    """Token ids of chats of one user message each, in the model's own chat template, up to where it answers.

    A message is tokenised apart from the template, so that text in it that spells a control token ("end of turn")
    stays text; templates rendered whole let a quoted text end the turn. Raises ModelError for a template that does
    not repeat its message once.
    """
    chat = [{"role": "user", "content": _MESSAGE}]
    frame = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    before, *after = frame.split(_MESSAGE)
    if len(after) != 1:
        raise ModelError("the chat template does not repeat the message once", todo="take another template")
    head, tail = tokenizer([before, after[0]], add_special_tokens=False, verbose=False)["input_ids"]
    bodies = encode_responses(tokenizer, messages)
    return [[*head, *body, *tail] for body in bodies]


def encode_responses(tokenizer: Tokenizer, responses: list[str]) -> list[list[int]]:
    """Token ids of answers, tokenised apart from their prompts and without special tokens.

    Tokenised together with the prompt, 2.4 % of Alpaca's answers would lose their first piece to a token
    that straddles `### Response:` (":-", ':"'), and the prompt mask would hide it.
    """
    return _token_ids(tokenizer, responses, special=False)


def _token_ids(tokenizer: Tokenizer, texts: list[str], *, special: bool) -> list[list[int]]:
    """What `tokenizer(texts)` gives as input_ids, with BOS and the like where they are `special`.

    Straight from the library behind it where there is one: offsets, which nobody reads, cost a fifth of the time.
    """
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        ids: list[list[int]] = tokenizer(texts, add_special_tokens=special, **IDS_ONLY)["input_ids"]
        return ids
    # What a tokenizer's file may ask for, and a call through transformers would undo.
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = IDS_ONLY["split_special_tokens"]
    return [encoding.ids for encoding in backend.encode_batch_fast(texts, add_special_tokens=special)]
