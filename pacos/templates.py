"""The one renderer: every prompt that is trained on, generated from or evaluated becomes token ids here.

The Alpaca template is a format and kept byte for byte (stanford_alpaca `train.py`, PROMPT_DICT): nothing
trained elsewhere would compare otherwise. `### Response:` has no newline behind it, as published.
"""

import hashlib
import random
from dataclasses import dataclass
from typing import Any, Protocol

from pacos.errors import ModelError
from pacos.records import Task

ALPACA_WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
ALPACA_WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)

ALPACA_SHA256 = hashlib.sha256((ALPACA_WITH_INPUT + "\0" + ALPACA_WITHOUT_INPUT).encode()).hexdigest()

# What vLLM and transformers need to chat with an adapter as it was trained: the last user message is the instruction.
ALPACA_CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{{ messages[-1]['content'] }}\n\n### Response:"
)

# Self-Instruct's encodings (self_instruct/prepare_for_finetuning.py): what the model reads, and what its answer
# begins with. A row draws one; an empty input counts as none.
SELF_INSTRUCT_WITH_INPUT = (
    ("{instruction}\nInput: {input}\nOutput:", " "),
    ("{instruction}\n\nInput: {input}\n\nOutput:", " "),
    ("Task: {instruction}\nInput: {input}\nOutput:", " "),
    ("{instruction}\n\n{input}\n\nOutput:", " "),
    ("{instruction}\n\n{input}\n\n", ""),
    ("{instruction}\n{input}\n\n", ""),
    ("Task: {instruction}\n\n{input}\n\n", ""),
)
SELF_INSTRUCT_WITHOUT_INPUT = (
    ("{instruction} Output:", " "),
    ("{instruction}\nOutput:", " "),
    ("{instruction}\n\nOutput:", " "),
    ("{instruction}\n", ""),
    ("{instruction}\n\n", ""),
    ("Task: {instruction}\n\n", ""),
)
SELF_INSTRUCT_SHA256 = hashlib.sha256(
    repr((SELF_INSTRUCT_WITH_INPUT, SELF_INSTRUCT_WITHOUT_INPUT)).encode()
).hexdigest()

# Self-Instruct's own evaluation without an input asks in this one of the thirteen.
SELF_INSTRUCT_CHAT_TEMPLATE = "{{ bos_token }}{{ messages[-1]['content'] }}\nOutput:"

# By `train.template`: hash of the format, chat template, and the prompt that the latter renders.
TEMPLATE_SHA256 = {"alpaca": ALPACA_SHA256, "self-instruct": SELF_INSTRUCT_SHA256}
CHAT_TEMPLATES = {"alpaca": ALPACA_CHAT_TEMPLATE, "self-instruct": SELF_INSTRUCT_CHAT_TEMPLATE}
CHAT_PROMPTS = {"alpaca": ALPACA_WITHOUT_INPUT, "self-instruct": "{instruction}\nOutput:"}

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
        return self.truncated or self.dropped > 0

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8", "backslashreplace")).hexdigest()


def alpaca_prompt(instruction: str, input: str = "") -> str:
    if input:
        return ALPACA_WITH_INPUT.format(instruction=instruction, input=input)
    return ALPACA_WITHOUT_INPUT.format(instruction=instruction)


def training_text(template: str, task: Task, draw: str) -> tuple[str, str]:
    """(prompt, response) of a task; where a template has several forms, `draw` seeds which one."""
    if template == "alpaca":
        return alpaca_prompt(task.instruction, task.input), task.output
    input = task.input.strip()
    forms = SELF_INSTRUCT_WITH_INPUT if input else SELF_INSTRUCT_WITHOUT_INPUT
    prompt, start = random.Random(draw).choice(forms)
    return prompt.format(instruction=task.instruction.strip(), input=input), start + task.output.strip()


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
