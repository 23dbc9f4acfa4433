"""GPT-2's pieces against tiktoken's."""

import bz2
import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pacos.superni.pieces import MERGES, gpt2_pieces
from tests.support.gpt2_reference import AWKWARD, published_pieces

texts = st.text() | st.lists(st.sampled_from(AWKWARD)).map(" ".join)


def test_the_merges_are_openais() -> None:
    """The hash by which tiktoken checks its download of GPT-2's vocab.bpe."""
    content = bz2.decompress(MERGES.read_bytes())
    assert hashlib.sha256(content).hexdigest() == "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5"
    assert "Modified MIT License" in (MERGES.parent / "LICENSE").read_text(encoding="utf-8")


@given(texts)
@settings(deadline=None)
def test_pieces_are_tiktokens_for_any_text(text: str) -> None:
    assert gpt2_pieces(text) == published_pieces(text)


@pytest.mark.parametrize("text", AWKWARD)
def test_pieces_of_awkward_texts_are_tiktokens(text: str) -> None:
    assert gpt2_pieces(text) == published_pieces(text)


def test_half_a_surrogate_pair_is_a_piece_and_no_error() -> None:
    assert gpt2_pieces("a \ud800") == ["a", "?"]


def test_spaces_go_and_case_stays() -> None:
    assert gpt2_pieces("Hello world, hello World") == ["Hello", "world", ",", "hello", "World"]
    assert gpt2_pieces("a  b") == ["a", "", "b"]
    assert gpt2_pieces("") == []
