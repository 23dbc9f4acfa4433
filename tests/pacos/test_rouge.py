"""ROUGE-L and the novelty index against rouge_score, bit for bit."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer, tokenizers

from pacos.novelty.index import NoveltyIndex
from pacos.rouge import rouge_l, tokenize, unicode_tokens

ORACLES = {
    stemmer: rouge_scorer.RougeScorer(["rougeL"], use_stemmer=stemmer) for stemmer in (False, True)
}  # one each: NLTK's stemmer is slow to build


def oracle(prediction: str, reference: str, stemmer: bool) -> float:
    return float(ORACLES[stemmer].score(reference, prediction)["rougeL"].fmeasure)


WORDS = ["running", "runs", "ran", "the", "a", "cat's", "Cats", "re-use", "it", "1st", "2,000", "dying", "skies"]
sentences = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)
texts = st.one_of(sentences, st.text(max_size=40))


@given(text=st.text(), stemmer=st.booleans())
def test_tokens_equal_rouge_scores(text: str, stemmer: bool) -> None:
    assert tokenize(text, stemmer=stemmer) == ORACLES[stemmer]._tokenizer.tokenize(text)


@pytest.mark.parametrize(
    "text", ["İstanbul", "\u212aelvin ﬁne", "naïve café", "日本語", "a\x00b\x1cc", "x_y", "\ud800z"]
)
def test_tokens_of_awkward_characters_equal_rouge_scores(text: str) -> None:
    assert tokenize(text, stemmer=False) == tokenizers.DefaultTokenizer().tokenize(text)


@given(prediction=texts, reference=texts, stemmer=st.booleans())
def test_scores_are_bit_identical_to_rouge_scores(prediction: str, reference: str, stemmer: bool) -> None:
    assert rouge_l(prediction, reference, stemmer=stemmer) == oracle(prediction, reference, stemmer)


def test_score_worked_out_by_hand() -> None:
    # LCS "red fox" = 2 of 3 tokens on both sides.
    assert rouge_l("a red fox", "the red fox", stemmer=True) == pytest.approx(2 / 3)
    assert rouge_l("", "the red fox", stemmer=False) == 0.0
    assert rouge_l("foxes", "fox", stemmer=True) == 1.0


def pair_with(m: int, n: int, common: int) -> tuple[str, str]:
    """Texts of m and n tokens with an LCS of `common`."""
    shared = [f"s{i}" for i in range(common)]
    return (
        " ".join(shared + [f"a{i}" for i in range(m - common)]),
        " ".join(shared + [f"b{i}" for i in range(n - common)]),
    )


def boundary_pairs(tenths: int, longest: int) -> list[tuple[int, int, int]]:
    """(m, n, LCS) whose F is exactly tenths/10 as a fraction: 2·LCS/(m + n)."""
    sizes = itertools.product(range(1, longest), repeat=2)
    return [
        (m, n, tenths * (m + n) // 20)
        for m, n in sizes
        if tenths * (m + n) % 20 == 0 and tenths * (m + n) // 20 <= min(m, n)
    ]


@pytest.mark.parametrize("tenths", [5, 6, 7, 8])
def test_exact_ties_with_the_threshold_follow_rouge_scores_floats(tenths: int) -> None:
    decisions = set()
    for m, n, common in boundary_pairs(tenths, 30):
        candidate, member = pair_with(m, n, common)
        pool = NoveltyIndex(tenths / 10)
        pool.add("member", member)
        above = oracle(candidate, member, False) > tenths / 10
        assert (pool.rejects(candidate) is not None) == above, (m, n, common)
        decisions.add(above)
    assert decisions == {False, True}


@settings(deadline=None, max_examples=150)
@given(
    pool=st.lists(texts, max_size=12),
    candidate=texts,
    threshold=st.one_of(st.sampled_from([0.0, 0.5, 0.6, 0.7, 0.8, 1.0]), st.floats(0, 1)),
)
def test_decisions_are_those_of_scoring_the_whole_pool(pool: list[str], candidate: str, threshold: float) -> None:
    index = NoveltyIndex(threshold)
    for position, text in enumerate(pool):
        index.add(str(position), text)
    scores = [oracle(candidate, text, False) for text in pool]
    match = index.rejects(candidate)
    if scores and max(scores) > threshold:
        assert match == (str(scores.index(max(scores))), max(scores))
    else:
        assert match is None


@given(pool=st.lists(sentences, min_size=1, max_size=90))
@settings(deadline=None, max_examples=20)
def test_neighbours_are_those_among_the_texts_before(pool: list[str]) -> None:
    index = NoveltyIndex(0.7)
    for position, text in enumerate(pool):
        index.add(str(position), text)
    for position, found in enumerate(index.neighbours()):
        scores = [rouge_l(pool[position], text, stemmer=False) for text in pool[:position]]
        assert found.nearest == max(scores, default=0.0)
        assert found.nearest_id == (str(scores.index(max(scores))) if any(scores) else "")
        assert found.mean == pytest.approx(sum(scores) / len(scores) if scores else 0.0, abs=1e-12)


def test_a_threshold_outside_0_to_1_is_refused() -> None:
    with pytest.raises(ValueError, match="0, 1"):
        NoveltyIndex(70)


def test_decisions_survive_the_indexs_growth() -> None:
    """Tokens are ranked by rarity again when the index doubles, at 1,024 and 2,048 texts."""
    draw = random.Random(3)
    pool = [" ".join(f"w{int(draw.paretovariate(0.4)) % 300}" for _ in range(draw.randint(3, 9))) for _ in range(2500)]
    index = NoveltyIndex(0.5)
    for position, text in enumerate(pool):
        index.add(str(position), text)
    for _ in range(60):
        candidate = " ".join(draw.choices([*draw.choice(pool).split(), "new"], k=6))
        scores = [rouge_l(candidate, text, stemmer=False) for text in pool]
        match = index.rejects(candidate)
        assert (match.score if match else None) == (max(scores) if max(scores) > 0.5 else None)


def test_more_words_than_there_are_characters() -> None:
    words = [f"w{number}" for number in range(1_150_000)]
    index = NoveltyIndex(0.7)
    index.add("all", " ".join(words))
    for id, first in (("surrogates", 0xD7FB), ("beyond", 1_149_980)):
        text = " ".join(words[first : first + 10])
        index.add(id, text)
        # LCS 9 of 10 and 9 tokens: 18/19.
        found = index.rejects(" ".join(text.split()[:9]))
        assert found and found.id == id and found.score == pytest.approx(18 / 19)


def test_unicode_tokens_are_words_of_any_script_and_characters_where_words_are_not_spaced() -> None:
    assert unicode_tokens("Straße, ÉCOLE x_2") == ["strasse", "école", "x", "2"]
    assert unicode_tokens("हिन्दी में लिखो") == ["हिन्दी", "में", "लिखो"]
    assert unicode_tokens("日本語 GPT4で") == ["日", "本", "語", "gpt4", "で"]
    index = NoveltyIndex(0.7, unicode_tokens)
    index.add("one", "写一首关于春天的诗")
    found = index.rejects("写一首关于秋天的诗")
    assert found and found.id == "one" and found.score == pytest.approx(8 / 9)
