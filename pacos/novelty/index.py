"""An index that finds near copies in a growing pool of texts: the decisions of `rouge_score`, for any size of pool.

pool = NoveltyIndex(threshold=0.7)
pool.admit(["task-1", "task-2"], ["Name a red fruit.", "Name a red, round fruit."])    # [None, Match("task-1", …)]
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.arrays import Growing, prefixed, under
from pacos.novelty.bounds import Bounds, signatures
from pacos.novelty.group import Group, Match, NumberedTexts, Pairs, pairs_above, pairs_within
from pacos.novelty.keys import FIRST_RANK, Order, Ranked, keys_to_find, keys_to_index
from pacos.novelty.neighbours import Neighbours, Surroundings
from pacos.novelty.order import order_of, ranks_by
from pacos.novelty.postings import Postings
from pacos.novelty.texts import Symbols, Texts, symbols
from pacos.novelty.vocabulary import Numbered, Token, Vocabulary
from pacos.rouge import rouge_tokens

# Texts decided at a time: enough to make numpy's calls cheap, few enough to compare each with each.
GROUP = 256

# The newest texts are compared with one by one until there are so many that they are indexed.
_UNINDEXED = 512

# The order is made anew, by the frequencies of then, when the pool has grown by this factor.
_GROWTH = 2
_FIRST_ORDER = 1024

# Texts indexed at a time, and texts in a segment, when the order is made anew.
_CHUNK = 1 << 12
_PER_SEGMENT = 1 << 20


class NoveltyIndex:
    """A pool of texts that decides whether a new text's ROUGE-L to any of them is above `threshold` (strict `>`).

    The decisions are those of scoring the new text against the whole pool with `rouge_score` without stemmer: bounds
    that are lossless (`keys.py`, `bounds.py`) leave few texts to score. Ties go to the text added first. `tokens`
    splits a text; the default is rouge_score's tokenizer. Raises ValueError for a threshold outside [0, 1].
    """

    def __init__(self, threshold: float, tokens: Callable[[str], list[str]] = rouge_tokens) -> None:
        self.threshold = threshold
        self._bounds = Bounds(threshold)
        self._tokens = tokens
        self._vocabulary = Vocabulary()
        self._order = Order()
        self._ranks: Growing[np.uint32] = Growing(np.empty(0, dtype=np.uint32))
        self._words_ranked = 0
        self._next_order = _FIRST_ORDER
        self.forget_texts()

    def forget_texts(self) -> None:
        """Be an index without texts, which keeps its vocabulary and the order of its tokens."""
        self._texts = Texts()
        self._postings = Postings()
        self._surroundings = Surroundings(self._words_at, lambda: len(self._vocabulary), self._texts.id)
        self._indexed = 0

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, id: str, text: str) -> None:
        """Add a text to the pool, under a name of its own."""
        self.extend([id], [text])

    def extend(self, ids: Sequence[str], texts: Sequence[str]) -> None:
        """Add texts to the pool, novel or not. Many at once cost far less than one by one."""
        for first, numbered in zip(range(0, len(texts), _CHUNK), self.numbered(texts, _CHUNK), strict=True):
            group = self._group(numbered)
            self._append(ids[first : first + _CHUNK], group, np.ones(len(group.lengths), dtype=np.bool_))

    @property
    def tokens(self) -> int:
        """How many different tokens the vocabulary has."""
        return len(self._vocabulary)

    def numbered_since(self, row: int, token: int) -> tuple[NumberedTexts, list[Token]]:
        """The texts from a row on and the tokens from a number on, as another index of the same vocabulary takes them
        by `extend_numbered`."""
        numbers = self._texts.numbers(row, len(self)).astype(np.uint32)
        return NumberedTexts(numbers, self._texts.lengths(slice(row, None))), self._vocabulary.since(token)

    def extend_numbered(self, ids: Sequence[str], texts: NumberedTexts, tokens: Sequence[Token]) -> None:
        """Add tokens to the vocabulary, then texts in its numbers to the pool."""
        self._vocabulary.extend(tokens)
        self._append_numbers(ids, texts.numbers.astype(np.int64), texts.lengths)

    def rejects(self, text: str) -> Match | None:
        """The nearest pool text above the threshold, or None when there is none."""
        return self.matches([text])[0]

    def matches(self, texts: Sequence[str]) -> list[Match | None]:
        """For each text its nearest pool text above the threshold, or None. Many at once cost far less than one by
        one."""
        return self.matches_of(self.numbered(texts))

    def numbered(self, texts: Sequence[str], together: int | None = None) -> Iterator[Numbered]:
        """Texts as `matches_of` and `admit_numbered` take them, in groups, each numbered when it is asked for."""
        size = together or GROUP
        for first in range(0, len(texts), size):
            yield self._vocabulary.numbered([self._tokens(text) for text in texts[first : first + size]])

    def matches_of(self, groups: Iterable[Numbered]) -> list[Match | None]:
        """As `matches`, of texts that are numbered already."""
        found: list[Match | None] = []
        for numbered in groups:
            group = self._group(numbered)
            best: list[Match | None] = [None] * len(group.lengths)
            pairs, above = self._above(group, self._near_in_pool(group))
            for query, row, score in zip(pairs.queries.tolist(), pairs.rows.tolist(), above.tolist(), strict=True):
                if (so_far := best[query]) is None or score > so_far.score:
                    best[query] = Match(self._texts.id(row), score)
            found += best
        return found

    def admit(self, ids: Sequence[str], texts: Sequence[str], *, at_most: int | None = None) -> list[Match | None]:
        """Decide on texts in their order; those without a match (None) are added before the next is decided on.

        Ends when `at_most` are added; texts after that have no entry.
        """
        return self.admit_numbered(ids, self.numbered(texts), at_most=at_most)

    def admit_numbered(
        self,
        ids: Sequence[str],
        groups: Iterable[Numbered],
        *,
        earlier: Sequence[Match | None] = (),
        at_most: int | None = None,
    ) -> list[Match | None]:
        """As `admit`, of texts that are numbered already, by this index or by one that has fewer of its tokens.

        `earlier` are the matches of the texts in an older pool, if any, of which this one is the continuation.
        """
        found: list[Match | None] = []
        added = first = 0
        for numbered in groups:
            room = None if at_most is None else at_most - added
            if room is not None and room <= 0:
                break
            group = self._group(self._vocabulary.renumbered(numbered))
            part = slice(first, first + len(group.lengths))
            first = part.stop
            decided = self._admit_group(ids[part], group, earlier[part] or [None] * len(group.lengths), room)
            added += decided.count(None)
            found += decided
        return found

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that the index is but threshold and tokenizer, by name."""
        scalars = [self._words_ranked, self._indexed, self._next_order, self._order.extended_from]
        return {
            "scalars": np.array(scalars, dtype=np.int64),
            "crowded": self._order.crowded,
            "ranks": self._ranks.values,
            **prefixed("texts", self._texts.arrays()),
            **prefixed("vocabulary", self._vocabulary.arrays()),
            **prefixed("postings", self._postings.arrays()),
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` were taken from; this index must be new. Arrays are not written to, only replaced."""
        self._words_ranked, self._indexed, self._next_order, extended_from = arrays["scalars"].tolist()
        self._order = Order(extended_from, arrays["crowded"])
        self._ranks = Growing(arrays["ranks"])
        self._texts.restore(under("texts", arrays))
        self._vocabulary.restore(under("vocabulary", arrays))
        self._postings.restore(under("postings", arrays))

    def _admit_group(
        self, ids: Sequence[str], group: Group, earlier: Sequence[Match | None], at_most: int | None
    ) -> list[Match | None]:
        pool, among = self._near_in_pool(group), pairs_within(group, self._bounds, len(self))
        both = Pairs(np.concatenate([pool.queries, among.queries]), np.concatenate([pool.rows, among.rows]))
        pairs, above = self._above(group, both)
        near: dict[int, list[tuple[int, float]]] = {}
        for query, row, score in zip(pairs.queries.tolist(), pairs.rows.tolist(), above.tolist(), strict=True):
            near.setdefault(query, []).append((row - len(self), score))
        decisions: list[Match | None] = []
        novel = np.zeros(len(group.lengths), dtype=np.bool_)
        for place, best in enumerate(earlier):
            if at_most is not None and decisions.count(None) >= at_most:
                break
            for other, score in near.get(place, ()):
                if (other < 0 or novel[other]) and (best is None or score > best.score):
                    best = Match(self._texts.id(len(self) + other) if other < 0 else ids[other], score)
            decisions.append(best)
            novel[place] = best is None
        self._append([id for id, new in zip(ids, novel.tolist(), strict=True) if new], group, novel)
        return decisions

    def _group(self, numbered: Numbered) -> Group:
        words = self._vocabulary.words(numbered)
        return Group(numbered, words, numbered.lengths, signatures(words, numbered.lengths))

    def _near_in_pool(self, group: Group) -> Pairs:
        """Pairs with pool texts that may be above the threshold."""
        numbers = group.numbered.numbers
        known = numbers < len(self._ranks)
        ranks = np.zeros(len(numbers), dtype=np.uint32)
        ranks[known] = self._ranks.values[numbers[known]]
        keys = keys_to_find(Ranked(ranks, group.lengths, self._bounds), self._order, self._bounds)
        parts = [self._unindexed(group)]
        for segment in self._postings.segments:
            places, rows = segment.find(keys.keys)
            parts.append(self._may_be_above(group, keys.texts[places], rows))
        found = np.unique(np.concatenate([part.queries << 32 | part.rows for part in parts]))
        return Pairs(found >> 32, found & 0xFFFFFFFF)

    def _may_be_above(self, group: Group, queries: NDArray[np.int64], rows: NDArray[np.integer]) -> Pairs:
        near = self._bounds.may_be_above(
            group.lengths[queries], group.signatures[queries], self._texts.lengths(rows), self._texts.signatures(rows)
        )
        return Pairs(queries[near], rows[near].astype(np.int64))

    def _unindexed(self, group: Group) -> Pairs:
        newest = slice(self._indexed, len(self))
        near = self._bounds.may_be_above(
            group.lengths[:, None],
            group.signatures[:, None],
            self._texts.lengths(newest)[None],
            self._texts.signatures(newest)[None],
        )
        queries, columns = np.nonzero(near)
        return Pairs(queries, columns + self._indexed)

    def _above(self, group: Group, pairs: Pairs) -> tuple[Pairs, NDArray[np.float64]]:
        return pairs_above(group, pairs, self.symbols, len(self), self.threshold)

    def neighbours(self, start: int = 0, end: int | None = None) -> list[Neighbours]:
        """The similarity of each pool text from row `start` on (up to `end`) to those added before it.

        Scores whole pools of up to `WHOLE` texts, so use it for accepted texts only, and for many at once.
        """
        return self._surroundings.neighbours(start, len(self) if end is None else end)

    def symbols(self, rows: NDArray[np.int64]) -> list[Symbols]:
        """Pool texts as RapidFuzz compares them."""
        return symbols(*self._words_at(rows))

    def _words_at(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        return self._vocabulary.words_of(self._texts.numbers_of(rows)), self._texts.lengths(rows)

    def _append(self, ids: Sequence[str], group: Group, chosen: NDArray[np.bool_]) -> None:
        numbers = group.numbered.numbers[np.repeat(chosen, group.lengths)]
        self._append_numbers(ids, self._vocabulary.add(group.numbered, numbers), group.lengths[chosen])

    def _append_numbers(self, ids: Sequence[str], numbers: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
        words = self._vocabulary.words_of(numbers)
        self._texts.append(ids, numbers, lengths, signatures(words, lengths))
        # A new token is rarer than all before it.
        known, new = len(self._ranks), len(self._vocabulary)
        self._ranks.append(FIRST_RANK - 1 - (np.arange(known, new) - self._words_ranked))
        if len(self) >= self._next_order:
            self._index_anew()
        elif len(self) - self._indexed >= _UNINDEXED:
            self._postings.add(*self._keys(self._indexed, len(self)))
            self._indexed = len(self)

    def _keys(self, first: int, end: int) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
        keys = keys_to_index(self._ranked(first, end), self._order)
        return keys.keys, (keys.texts + first).astype(np.int32)

    def _ranked(self, first: int, end: int) -> Ranked:
        return Ranked(
            self._ranks.values[self._texts.numbers(first, end)], self._texts.lengths(slice(first, end)), self._bounds
        )

    def _index_anew(self) -> None:
        """Order tokens by how many texts have them now, and index all texts by that."""
        self._postings = Postings()
        frequencies = np.zeros(len(self._vocabulary), dtype=np.int64)
        for first in range(0, len(self), _PER_SEGMENT):
            frequencies += np.bincount(
                self._texts.numbers(first, min(first + _PER_SEGMENT, len(self))), minlength=len(frequencies)
            )
        self._ranks = Growing(ranks_by(frequencies))
        self._words_ranked = len(frequencies)
        self._order = order_of(frequencies, len(self), self._bounds, self._ranked)
        for start in range(0, len(self), _PER_SEGMENT):
            end = min(start + _PER_SEGMENT, len(self))
            parts = [self._keys(first, min(first + _CHUNK, end)) for first in range(start, end, _CHUNK)]
            self._postings.add_frozen(*(np.concatenate(part) for part in zip(*parts, strict=True)))
        self._indexed = len(self)
        self._next_order = _GROWTH * len(self)
