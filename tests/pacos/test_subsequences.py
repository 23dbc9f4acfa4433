"""Longest common subsequences of blocks of texts with queries, against the table of the textbook."""

import random
from collections.abc import Sequence

import numpy as np
import pytest

from pacos.novelty import subsequences
from pacos.novelty.subsequences import LONGEST, Block, Queries

TOKENS = 40


def by_table(first: Sequence[int], second: Sequence[int]) -> int:
    row = [0] * (len(second) + 1)
    for token in first:
        before = row
        row = [0]
        for place, other in enumerate(second):
            row.append(before[place] + 1 if token == other else max(before[place + 1], row[place]))
    return row[-1]


def flat(texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    numbers = np.array([token for text in texts for token in text], dtype=np.int32)
    return numbers, np.array([len(text) for text in texts], dtype=np.int64)


def drawn(draw: random.Random, lengths: Sequence[int]) -> list[list[int]]:
    return [draw.choices(range(TOKENS), k=length) for length in lengths]


@pytest.mark.parametrize(
    "lengths",
    [
        [0] * 3,
        [1, 8, 9, 16, 17, 32, 33, 64, 65, 130],  # too few of any width
        [0, 7, 8] * 8,
        [8, 9, 15, 16] * 5,
        [16, 17, 31, 32] * 5,
        [32, 33, 63, 64, 65] * 5,
        [*range(0, 70), *range(0, 70)],
    ],
)
@pytest.mark.parametrize("cached", [1, 100, 1 << 17])
def test_every_width_gives_the_lengths_of_the_table(
    lengths: list[int], cached: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subsequences, "_CACHED", cached)  # a text at a time, several, all
    draw = random.Random(len(lengths))
    texts = drawn(draw, [3, 0, 64, 65, 12, 12, 1, 200, 30, 12])
    queries = drawn(draw, lengths)
    block = Block(np.arange(50, 50 + len(texts)), *flat(texts))
    seen = []
    for group, common in Queries(*flat(queries), TOKENS).common(block):
        assert common.shape == (len(texts), len(group.places))
        for row, place in enumerate(block.places.tolist()):
            for column, query in enumerate(group.places.tolist()):
                assert common[row, column] == by_table(texts[place - 50], queries[query])
        seen += group.places.tolist()
    assert sorted(seen) == list(range(len(queries)))


def test_a_block_has_its_texts_by_decreasing_length_and_first_ones_first() -> None:
    lengths = [2, LONGEST + 1, 5, 2, 0, 5]
    block = Block(np.arange(10, 16), *flat([[1] * length for length in lengths]))
    assert block.places.tolist() == [11, 12, 15, 10, 13, 14]
    assert [block.lengths[run].tolist() for run in block.runs] == [[LONGEST + 1], [5, 5], [2, 2], [0]]
    assert (block.end, block.long) == (16, 1)
