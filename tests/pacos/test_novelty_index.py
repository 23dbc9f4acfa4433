"""The novelty index against scoring every pair: at any cost setting the same decisions, to the bit."""

import gzip
import itertools
import json
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pacos.novelty import arrays, index, keys, neighbours, order, postings
from pacos.novelty.arrays import Ends, Numbers
from pacos.novelty.group import Match
from pacos.novelty.ids import Ids
from pacos.novelty.index import NoveltyIndex
from pacos.rouge import rouge_l

ALPACA = Path(os.environ.get("PACOS_SHARED_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
ALPACA = ALPACA / "alpaca" / "alpaca_52k.jsonl.gz"

# Few words, some in nearly every text, so that most texts are near to others and share repeated words.
words = st.sampled_from(["the", "the", "the", "a", "a", "of", *(f"w{number}" for number in range(12))])
texts = st.lists(words, max_size=14).map(" ".join)


@pytest.fixture(params=[(1, 3, 32), (2, 3, 32), (1, 2, 32), (1, 3, 6), (5, 3, 9)])
def tiny_limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so low that pools of a few texts have what pools of millions have: all depths of keys, long texts,
    segments that are merged or frozen, and several orders."""
    crowd, deepest, longest = request.param
    monkeypatch.setattr(order, "crowd", lambda count: crowd)
    monkeypatch.setattr(keys, "DEEPEST", deepest)
    monkeypatch.setattr(keys, "LONGEST_EXTENDED", longest)
    monkeypatch.setattr(index, "_UNINDEXED", 3)
    monkeypatch.setattr(index, "_FIRST_ORDER", 8)
    monkeypatch.setattr(index, "_PER_SEGMENT", 10)
    monkeypatch.setattr(index, "_CHUNK", 4)
    monkeypatch.setattr(index, "GROUP", 5)
    monkeypatch.setattr(postings, "_FROZEN", 60)
    monkeypatch.setattr(arrays, "_PER_BASE", 7)


def one_by_one(pool: Sequence[str], threshold: float) -> tuple[list[Match | None], list[int]]:
    """What scoring each text against all that were kept before it decides, and the places of those kept."""
    decisions: list[Match | None] = []
    kept: list[int] = []
    for place, text in enumerate(pool):
        scores = [rouge_l(text, pool[other], stemmer=False) for other in kept]
        best = max(scores, default=0.0)
        decisions.append(Match(str(kept[scores.index(best)]), best) if best > threshold else None)
        if best <= threshold:
            kept.append(place)
    return decisions, kept


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pool=st.lists(texts, max_size=60),
    threshold=st.one_of(st.sampled_from([0.0, 0.5, 0.6, 0.7, 0.8, 1.0]), st.floats(0, 1)),
    cut=st.integers(0, 60),
)
def test_decisions_are_those_of_scoring_one_by_one(
    tiny_limits: None, pool: list[str], threshold: float, cut: int
) -> None:
    expected, kept = one_by_one(pool, threshold)
    ids = [str(place) for place in range(len(pool))]
    together = NoveltyIndex(threshold)
    assert together.admit(ids, pool) == expected
    assert len(together) == len(kept)
    apart = NoveltyIndex(threshold)
    assert apart.admit(ids[:cut], pool[:cut]) + apart.admit(ids[cut:], pool[cut:]) == expected
    limited = NoveltyIndex(threshold)
    end = len(pool) if cut > len(kept) else kept[cut - 1] + 1 if cut else 0
    assert limited.admit(ids, pool, at_most=cut) == expected[:end]
    assert len(limited) == min(cut, len(kept))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(older=st.lists(texts, max_size=30), newer=st.lists(texts, max_size=30), threshold=st.sampled_from([0.5, 0.7]))
def test_a_continuation_decides_what_the_whole_pool_would(
    tiny_limits: None, older: list[str], newer: list[str], threshold: float
) -> None:
    expected, _ = one_by_one(older + newer, threshold)
    ids = [str(place) for place in range(len(older) + len(newer))]
    frozen, continuation = NoveltyIndex(threshold), NoveltyIndex(threshold)
    frozen.admit(ids[: len(older)], older)
    numbered = list(frozen.numbered(newer))
    continuation.extend_numbered(ids[: len(frozen)], *frozen.numbered_since(0, 0))
    continuation.forget_texts()  # and keep the vocabulary
    earlier = frozen.matches_of(numbered)
    assert continuation.admit_numbered(ids[len(older) :], numbered, earlier=earlier) == expected[len(older) :]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(texts, max_size=12), max_size=5), st.sampled_from([0.3, 0.7]))
def test_an_index_that_takes_anothers_numbers_is_that_of_their_texts(
    tiny_limits: None, groups: list[list[str]], threshold: float
) -> None:
    sender, receiver, whole = (NoveltyIndex(threshold) for _ in range(3))
    for group in groups:
        sender.forget_texts()
        tokens, ids = sender.tokens, [f"{len(whole)}-{place}" for place in range(len(group))]
        sender.extend(ids, group)
        receiver.extend_numbered(ids, *sender.numbered_since(0, tokens))
        whole.extend(ids, group)
        asked = [text for each in groups for text in each]
        assert receiver.matches(asked) == whole.matches(asked)
        assert receiver.neighbours() == whole.neighbours()
        alone = NoveltyIndex(threshold)
        alone.extend(ids, group)
        assert sender.matches(asked) == alone.matches(asked)  # nothing is left of what was forgotten


@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_texts_longer_than_keys_are_extended_meet_short_ones(tiny_limits: None, threshold: float) -> None:
    draw = random.Random(7)
    base = [" ".join(draw.choices([f"w{number}" for number in range(9)], k=draw.randint(2, 40))) for _ in range(40)]
    pool = base + [" ".join(text.split()[: draw.randint(1, 40)] + ["the"] * draw.randint(0, 9)) for text in base * 2]
    expected, kept = one_by_one(pool, threshold)
    assert NoveltyIndex(threshold).admit([str(place) for place in range(len(pool))], pool) == expected
    assert 0 < len(kept) < len(pool)


def test_ends_of_runs_are_cumulative_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = np.random.default_rng(0)
    for per_base in (1, 2, 7):
        monkeypatch.setattr(arrays, "_PER_BASE", per_base)
        ends, lengths = Ends(), []
        for _ in range(20):
            more = draw.integers(0, 5, draw.integers(0, 11))
            lengths += more.tolist()
            ends.append(more)
        assert ends.of(np.arange(-1, len(lengths))).tolist() == [0, *itertools.accumulate(lengths)]


def test_numbers_take_a_fourth_byte_where_one_needs_it() -> None:
    numbers = Numbers()
    given = [[3, 70_000, (1 << 24) - 1], [1 << 24, 5], [(1 << 31) + 9]]
    for count, part in enumerate(given, 1):
        numbers.append(np.array(part))
        assert numbers.at(slice(None)).tolist() == [number for each in given[:count] for number in each]


def test_lengths_beyond_two_bytes_are_kept() -> None:
    index = NoveltyIndex(0.7)
    longest = "word " * 70_000
    index.extend(["short", "long"], ["one two three", longest])
    assert index.rejects(longest) == Match("long", 1.0)
    assert index.rejects("word " * 30_000) is None  # F is 60,000 / 100,000


def test_ids_are_found_wherever_they_are_and_restored(tmp_path: Path) -> None:
    names = [f"{'é' * (number % 3)}\n{number}\ud800" for number in range(300)]
    ids = Ids()
    for first in range(0, 300, 37):
        ids.append(names[first : first + 37])
    restored = Ids()
    restored.restore(ids.arrays())
    restored.append(["one more"])
    for place, id in enumerate(names):
        assert ids[place] == restored[place] == id
    assert restored[300] == "one more"


def test_neighbours_of_large_pools_are_those_of_every_so_many_th_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "WHOLE", 20)
    monkeypatch.setattr(neighbours, "SAMPLE", 8)
    draw = random.Random(1)
    pool = [" ".join(draw.choices("abcdefgh", k=6)) for _ in range(70)]
    novelty = NoveltyIndex(0.7)
    novelty.extend([str(place) for place in range(70)], pool)
    for start in (0, 19, 50):
        for place, found in enumerate(novelty.neighbours(start), start):
            # Every 4th of 21 to 32 texts, 8th of up to 64, then 16th: at most eight.
            step = 1 if place <= 20 else 4 if place <= 32 else 8 if place <= 64 else 16
            compared = range(0, place, step)
            scores = [rouge_l(pool[place], pool[other], stemmer=False) for other in compared]
            assert found.sampled == (place > 20)
            assert found.nearest == max(scores, default=0.0)
            assert found.nearest_id == (str(compared[scores.index(max(scores))]) if any(scores) else "")
            assert found.mean == pytest.approx(sum(scores) / max(1, len(scores)))


def released() -> Iterator[str]:
    with gzip.open(ALPACA, "rt", encoding="utf-8") as rows:
        for row in itertools.islice(rows, 3000):
            yield json.loads(row)["instruction"]


@pytest.mark.skipif(not ALPACA.is_file(), reason="the released Alpaca rows are not at PACOS_SHARED_DATA")
def test_decisions_on_released_instructions_and_cut_copies_of_them() -> None:
    draw = random.Random(2)
    pool = list(released())
    copies = [
        " ".join(words[: draw.randint(1, len(words))]) for text in draw.sample(pool, 150) if (words := text.split())
    ]
    novelty = NoveltyIndex(0.6)
    novelty.extend([str(place) for place in range(len(pool))], pool)
    for copy, found in zip(copies, novelty.matches(copies), strict=True):
        scores = [rouge_l(copy, text, stemmer=False) for text in pool]
        best = max(scores)
        assert found == (Match(str(scores.index(best)), best) if best > 0.6 else None)
