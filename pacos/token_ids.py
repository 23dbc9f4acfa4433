"""Token ids of texts, in which no text is a special token unless that is asked for.

They come straight from the library behind a tokenizer, `tokenizers`, where there is one: offsets, which nobody reads,
cost a fifth of the time.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

# Masks that nobody reads are not made.
IDS_ONLY = {"return_attention_mask": False, "return_token_type_ids": False, "verbose": False}

# What puts a space before a text, by its key in a tokenizer's file, and the value with which nothing does.
NO_SPACE = {"prepend": "", "prepend_scheme": "never", "add_prefix_space": False}


class Tokenizer(Protocol):
    """What prompts and rows need of a transformers tokenizer."""

    bos_token_id: int | None
    eos_token_id: int | None

    def __call__(self, text: Any, **options: Any) -> Any: ...


def token_ids(tokenizer: Tokenizer, texts: Sequence[str], *, special: bool, control: bool = False) -> list[list[int]]:
    """What `tokenizer(texts)` gives as input_ids, with BOS and the like where they are `special`.

    Text that spells a special token is one where `control` is set, and stays text otherwise.
    """
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        options = {"add_special_tokens": special, "split_special_tokens": not control, **IDS_ONLY}
        ids: list[list[int]] = tokenizer(list(texts), **options)["input_ids"]
        return ids
    # What a tokenizer's file may ask for, and a call through transformers would undo.
    backend.no_truncation()
    backend.no_padding()
    backend.encode_special_tokens = not control
    encoded = _encode(backend, texts, special)
    if not control and type(backend.model).__name__ == "Unigram":
        _respell(tokenizer, texts, encoded, special)
    return encoded


def continuation_ids(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts as they stand behind others, whose tokens they do not join: without a space before them."""
    if not texts:
        return []
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        with _replaced(backend, **_spaceless(backend)):
            return token_ids(tokenizer, texts, special=False)
    line, *behind = token_ids(tokenizer, ["\n", *("\n" + text for text in texts)], special=False)
    alone = token_ids(tokenizer, texts, special=False)
    return [ids[len(line) :] if ids[: len(line)] == line else own for ids, own in zip(behind, alone, strict=True)]


def control_tokens(tokenizer: Any) -> dict[int, Any]:
    """The tokenizer's special tokens (`tokenizers.AddedToken`) by id."""
    named = set(tokenizer.all_special_ids)
    return {id: token for id, token in tokenizer.added_tokens_decoder.items() if token.special or id in named}


def _encode(backend: Any, texts: Sequence[str], special: bool) -> list[list[int]]:
    return [encoding.ids for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=special)]


def _respell(tokenizer: Any, texts: Sequence[str], encoded: list[list[int]], special: bool) -> None:
    """Replace, in `encoded`, the ids of texts that spell a special token.

    The pieces of a Unigram model are found in any text, and special tokens are among its pieces.
    """
    backend, controls = tokenizer.backend_tokenizer, control_tokens(tokenizer)
    controls.pop(tokenizer.unk_token_id, None)  # what unknown characters become

    def count(ids: list[int]) -> int:
        return sum(id in controls for id in ids)

    [added] = _encode(backend, [""], special)
    spelling = [number for number, ids in enumerate(encoded) if count(ids) > count(added)]
    if spelling:
        with _replaced(backend, model=_without_pieces(backend.model, {token.content for token in controls.values()})):
            respelt = _encode(backend, [texts[number] for number in spelling], special)
            for number, ids in zip(spelling, respelt, strict=True):
                encoded[number] = ids


def _without_pieces(model: Any, pieces: set[str]) -> Any:
    """A copy of a Unigram model in which the places of these pieces hold what no text spells."""
    from tokenizers import Tokenizer as Backend

    rules = json.loads(Backend(model).to_str())
    vocabulary = rules["model"]["vocab"]
    rules["model"]["vocab"] = [
        [f"\ue000{piece}\ue001" if piece in pieces else piece, score] for piece, score in vocabulary
    ]
    return Backend.from_str(json.dumps(rules)).model


def _spaceless(backend: Any) -> dict[str, Any]:
    """The parts of a tokenizer that put a space before a text, as they are where they put none."""
    from tokenizers import Tokenizer as Backend
    from tokenizers.models import BPE

    # The two parts alone: to write and read a tokenizer with its vocabulary takes up to a second.
    parts = Backend(BPE())
    parts.normalizer, parts.pre_tokenizer = backend.normalizer, backend.pre_tokenizer
    rules = json.loads(
        parts.to_str(), object_hook=lambda rule: {key: NO_SPACE.get(key, value) for key, value in rule.items()}
    )
    changed = Backend.from_str(json.dumps(rules))
    return {"normalizer": changed.normalizer, "pre_tokenizer": changed.pre_tokenizer}


@contextmanager
def _replaced(backend: Any, **parts: Any) -> Iterator[None]:
    """In this context, a tokenizer has other parts."""
    own = {name: getattr(backend, name) for name in parts}
    try:
        for name, part in parts.items():
            setattr(backend, name, part)
        yield
    finally:
        for name, part in own.items():
            setattr(backend, name, part)
