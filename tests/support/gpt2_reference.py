"""The x-lingual track's published tokenizer by tiktoken, which merges bytes by their ranks with code of its own."""

import bz2
from functools import cache
from typing import Any

import pytest

from pacos.superni.pieces import MERGES

# Texts of the x-lingual track's scripts, spaces of all kinds, contractions, and GPT-2's own special token.
AWKWARD = [
    "ये सही है", "数学の問題です。", "Да, конечно", "نعم، صحيح", "ไม่ใช่", "ஆம்", "gráfico İstanbul", "a  b   c\n\n d ",
    "I'll say it's \t\t ok", "x<|endoftext|>y", "12,000.5%", "\u2028\u00a0z", "👩‍👩‍👧 ok", "\x00\x1f", "é́",
]  # fmt: skip


# GPT-2 writes the bytes that print as themselves, and the other 68 from U+0100 on; its vocabulary begins in this order.
_PRINTED = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTED]
_CHARACTER = {byte: chr(byte) for byte in _PRINTED} | {byte: chr(0x100 + at) for at, byte in enumerate(_OTHERS)}


@cache
def _encoding() -> Any:
    tiktoken = pytest.importorskip("tiktoken", reason="needs tiktoken: it comes with vLLM")
    byte_of = {character: byte for byte, character in _CHARACTER.items()}
    merges = bz2.decompress(MERGES.read_bytes()).decode("utf-8").split("\n")[1:-1]
    merged = [bytes(byte_of[character] for character in merge.replace(" ", "")) for merge in merges]
    return tiktoken.Encoding(
        "gpt2",
        pat_str=r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
        mergeable_ranks={piece: rank for rank, piece in enumerate([*(bytes([byte]) for byte in _CHARACTER), *merged])},
        special_tokens={"<|endoftext|>": 50256},
        explicit_n_vocab=50257,
    )


def published_pieces(text: str) -> list[str]:
    """The pieces of a text, each without the spaces that it begins with."""
    encoding = _encoding()
    pieces = [encoding.decode_single_token_bytes(id) for id in encoding.encode(text, allowed_special="all")]
    return ["".join(_CHARACTER[byte] for byte in piece).lstrip("Ġ") for piece in pieces]
