"""Which words ROUGE-L compares: rouge_score's own for Latin text, to the bit, and words of any script for others."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score.tokenizers import DefaultTokenizer

from pacos.results.figures import Tokenization
from pacos.words import auto_tokens, is_beyond_rouge, tokenization, word_count

LATIN = [
    "Translate the sentence into French: L'été où j'ai vécu à Nîmes.",
    "Viết một bài thơ về Hà Nội",
    "Fiú és lány találkozik a könyvtárban",
    "x = 2 × π — what is sin(x)?",
    "İstanbul'da hava nasıl?",
    "the word 水 means water",
]
OTHERS = ["हिन्दी में 3 वाक्य लिखो", "写一首关于春天的诗", "Напиши 3 строки о весне", "اكتب قصيدة", "เขียนบทกวี", "Ποίημα"]


@given(st.text(string.printable))
def test_ascii_text_has_rouge_scores_own_tokens(text: str) -> None:
    assert auto_tokens(text) == DefaultTokenizer().tokenize(text)
    assert word_count(text) == len(text.split())


@pytest.mark.parametrize("text", LATIN)
def test_latin_text_has_rouge_scores_own_tokens(text: str) -> None:
    assert not is_beyond_rouge(text)
    assert auto_tokens(text) == DefaultTokenizer().tokenize(text)


@pytest.mark.parametrize("text", OTHERS)
def test_text_in_another_script_has_its_words(text: str) -> None:
    assert is_beyond_rouge(text)
    assert len(auto_tokens(text)) > 2 * len(DefaultTokenizer().tokenize(text))


def test_a_text_without_words_needs_no_tokenizer() -> None:
    assert not is_beyond_rouge("→ ∑ — …") and auto_tokens("→ ∑ — …") == []


def test_words_are_counted_between_spaces_where_there_are_spaces() -> None:
    assert word_count("It's a well-known café.") == 4
    assert word_count("红色的花") == 4
    assert word_count("红色的花", "rouge") == 1


def test_the_tokenization_counts_texts_by_what_they_were_measured_by() -> None:
    texts = ["a red fox", "写一首诗", "Привет, мир", "!?"]
    assert tokenization(texts, "auto") == Tokenization("rouge and unicode", 3, 2, 0)
    assert tokenization(texts, "rouge") == Tokenization("rouge", 3, 0, 2)
    assert tokenization(texts, "unicode") == Tokenization("unicode", 3, 3, 0)
    assert tokenization(texts[1:], "auto") == Tokenization("unicode", 2, 2, 0)
    assert str(tokenization(texts[:1], "auto")) == ""
    assert "for 2 of 3 texts" in str(tokenization(texts, "auto"))
    assert "2 of 3 texts are in scripts" in str(tokenization(texts, "rouge"))
