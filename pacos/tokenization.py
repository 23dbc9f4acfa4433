"""Turns prompts, training rows and chats into token ids: the same code for training, generation and evaluation.

A text is tokenised whole. Its parts, tokenised one by one and joined, would have other ids: SentencePiece tokenizers
put a space before every text, and byte-level ones split white space by what follows it.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pacos.errors import ModelError
from pacos.token_ids import Tokenizer, continuation_ids, control_tokens, token_ids

# Where a message goes in a rendered chat template: characters that no text holds.
_MESSAGE = "\ue000message\ue001"


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
    ends nothing. Raises ModelError for a template that does not repeat its message once.
    """
    chats = [[{"role": "user", "content": text}] for text in (_MESSAGE, *messages)]
    rendered, *texts = tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
    before, *after = rendered.split(_MESSAGE)
    if len(after) != 1 or not all(text.startswith(before) and text.endswith(after[0]) for text in texts):
        raise ModelError("the chat template does not repeat the message once", todo="take another template")
    frame, controls = _Frame(before, after[0]), control_tokens(tokenizer)
    expected, *encoded = token_ids(
        tokenizer, [frame.around("x"), *(text + opening for text in texts)], special=False, control=True
    )
    own = sum(id in controls for id in expected)
    spelling = [number for number, ids in enumerate(encoded) if sum(id in controls for id in ids) != own]
    if spelling:
        # Some tokenizers put a space before text that follows a control token, others do not.
        ways = (partial(token_ids, tokenizer, special=False), partial(continuation_ids, tokenizer))
        parts = frame.parts(frame.around("x"), controls)
        behind = next((way for way in ways if _join(tokenizer, parts, way) == expected), ways[-1])
        for number in spelling:
            parts = frame.parts(texts[number], controls, opening)
            encoded[number] = _join(tokenizer, parts, behind)
    return encoded


@dataclass(frozen=True, slots=True)
class _Frame:
    """What a chat template renders `before` and `after` its message."""

    before: str
    after: str

    def around(self, message: str) -> str:
        return self.before + message + self.after

    def parts(self, rendered: str, controls: Mapping[int, Any], opening: str = "") -> list[str | int]:
        """`rendered` and the opening behind it, cut at the template's own control tokens: text, id, text, …"""
        ids = {token.content: id for id, token in controls.items()}
        longest_first = sorted(controls.values(), key=lambda token: -len(token.content))
        patterns = (
            r"\s*" * token.lstrip + f"({re.escape(token.content)})" + r"\s*" * token.rstrip for token in longest_first
        )
        pattern = re.compile("|".join(patterns) or "(?!)")
        parts: list[str | int] = []
        at = 0
        for first, last in ((0, len(self.before)), (len(rendered) - len(self.after), len(rendered))):
            for found in pattern.finditer(rendered, first, last):
                parts += [rendered[at : found.start()], ids[found[found.lastindex or 0]]]
                at = found.end()
        return [*parts, rendered[at:] + opening]


def _join(tokenizer: Any, parts: Sequence[str | int], behind: Callable[[list[str]], list[list[int]]]) -> list[int]:
    """Token ids of parts, no text of which is a control token; `behind` tokenises texts that follow one."""
    ids: list[int] = []
    for number, part in enumerate(parts):
        if isinstance(part, int):
            ids.append(part)
        elif part:
            ids += (behind([part]) if number else token_ids(tokenizer, [part], special=False))[0]
    return ids
