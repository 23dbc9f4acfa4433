"""Turns prompts, chats and responses into token ids: the same code for training, generation and evaluation."""

import hashlib
from dataclasses import dataclass
from typing import Any, Protocol

from pacos.errors import ModelError

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
