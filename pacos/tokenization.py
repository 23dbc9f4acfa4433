"""Turns prompts, training rows and chats into token ids: the same code for training, generation and evaluation.

A text is tokenised whole. Its parts, tokenised one by one and joined, would have other ids: SentencePiece tokenizers
put a space before every text, and byte-level ones split white space by what follows it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.chat_text import CLOSE, OPEN, ChatText, render_chats
from pacos.errors import ModelError
from pacos.token_ids import Tokenizer, continuation_ids, token_ids

# Where a message goes in a rendered chat template: characters that no text holds.
_MESSAGE = f"{OPEN}message{CLOSE}"


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


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """Token ids of a prompt, as `encode_prompts` gives them, and of its response (`apart`: see `encode_rows`)."""

    prompt: list[int]
    response: list[int]
    apart: bool = False


def encode_prompts(tokenizer: Tokenizer, prompts: Sequence[str]) -> list[list[int]]:
    """Token ids of whole prompts: the tokenizer's own BOS once (none where it has none) and no EOS.

    A server fed the same text as plain text tokenises it alike. Text that spells a special token stays text.
    """
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    encoded = token_ids(tokenizer, prompts, special=True)
    for ids in encoded:
        while len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos:
            del ids[0]
        if eos is not None and eos != bos and ids and ids[-1] == eos:
            del ids[-1]
    return encoded


def encode_rows(tokenizer: Tokenizer, rows: Sequence[tuple[str, str]]) -> list[EncodedRow]:
    """Token ids of rows (prompt, response). Prompt and response are tokenised together, as Stanford Alpaca's
    `preprocess` does (`train.py`), and apart where the whole does not begin with the prompt's own ids.

    That is where a token straddles the boundary (":-", ':"'), whose loss `preprocess` masks with the prompt's, or where
    the prompt's last token depends on what follows (blank lines, in GPT-2's tokenizer). Such a response has the ids
    that it has behind other text: no space is put before it.
    """
    distinct = list(dict.fromkeys(prompt for prompt, _ in rows))
    prompts = dict(zip(distinct, encode_prompts(tokenizer, distinct), strict=True))
    joint = encode_prompts(tokenizer, [prompt + response for prompt, response in rows])
    encoded, apart = [], []
    for number, ((text, _), ids) in enumerate(zip(rows, joint, strict=True)):
        prompt = prompts[text]
        if ids[: len(prompt)] != prompt:
            apart.append(number)
        encoded.append(EncodedRow(prompt, ids[len(prompt) :]))
    responses = continuation_ids(tokenizer, [rows[number][1] for number in apart])
    for number, response in zip(apart, responses, strict=True):
        encoded[number] = EncodedRow(encoded[number].prompt, response, apart=True)
    return encoded


def encode_chats(tokenizer: Any, messages: Sequence[str], opening: str = "") -> list[list[int]]:
    """Token ids of chats of one user message each, in the model's own chat template, up to where it answers.

    `opening` is how every answer begins. The ids are those of `apply_chat_template(tokenize=True)`, as servers tokenise
    chats, except that text of a message or of the opening that spells a control token ("end of turn") stays text and
    ends nothing. Raises ModelError for a template that cannot be rendered or does not repeat its message once.
    """
    text = ChatText(tokenizer)
    escaped = (text.escape(message) for message in messages)
    chats = [[{"role": "user", "content": content}] for content in (_MESSAGE, *escaped)]
    try:
        rendered, *texts = render_chats(tokenizer, chats, asks=True)
    except Exception as failure:  # a template is a stranger's program, and raises anything
        reason = f"{type(failure).__name__}: {failure}"
        raise ModelError(
            f"the tokenizer's chat template does not render a user's message: {reason}",
            where=str(getattr(tokenizer, "name_or_path", "") or "tokenizer"),
            todo="take a model with a template for such chats, or correct its chat_template.jinja",
        ) from failure
    before, *after = rendered.split(_MESSAGE)
    if len(after) != 1 or not all(one.startswith(before) and one.endswith(after[0]) for one in texts):
        raise ModelError("the chat template does not repeat the message once", todo="take another template")
    text.calibrate(f"{before}x{after[0]}")
    texts = [one + text.escape(opening) for one in texts]
    encoded, plain = text.ids(texts), [number for number, one in enumerate(texts) if OPEN not in one]
    if len(plain) < len(texts) and not text.cuts:
        raise ModelError("a message spells a control token, which this tokenizer cannot tell from the template's own")
    for number, ids in zip(plain, text.whole([texts[number] for number in plain]), strict=True):
        encoded[number] = ids
    return encoded
