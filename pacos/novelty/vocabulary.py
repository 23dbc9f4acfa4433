"""Numbers for tokens. The k-th occurrence of a token in a text has a number of its own, so that a text is a set."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pacos.novelty.arrays import Growing

# A further occurrence is the pair (number of the first, k).
Token: TypeAlias = "str | tuple[int, int]"


class Numbered(NamedTuple):
    """Texts as flat numbers, text after text, and the length of each.

    Numbers from `first_new` on are of tokens that the vocabulary lacks; `new` has those tokens in the order of their
    numbers.
    """

    numbers: NDArray[np.int64]
    lengths: NDArray[np.int64]
    first_new: int
    new: list[Token]


class Vocabulary:
    """The tokens of a pool, by number from 0 on."""

    def __init__(self) -> None:
        self._words: dict[str, int] = {}
        self._repeats: dict[tuple[int, int], int] = {}
        self._firsts: Growing[np.int32] = Growing(np.empty(0, dtype=np.int32))

    def __len__(self) -> int:
        return len(self._firsts)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All that this is, by name."""
        words = json.dumps(list(self._words)).encode()
        repeats = [(first, occurrence, number) for (first, occurrence), number in self._repeats.items()]
        return {
            "words": np.frombuffer(words, dtype=np.uint8),
            "numbers": np.fromiter(self._words.values(), dtype=np.int32, count=len(self._words)),
            "repeats": np.array(repeats, dtype=np.int64).reshape(-1, 3),
            "firsts": self._firsts.values,
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Become what `arrays` were taken from."""
        words = json.loads(arrays["words"].tobytes())
        self._words = dict(zip(words, arrays["numbers"].tolist(), strict=True))
        self._repeats = {(first, occurrence): number for first, occurrence, number in arrays["repeats"].tolist()}
        self._firsts = Growing(arrays["firsts"])

    def numbered(self, texts: Sequence[Sequence[str]]) -> Numbered:
        """The texts' numbers; new tokens are numbered, but not added."""
        tokens = list(itertools.chain.from_iterable(texts))
        lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
        first_new = len(self)
        new: dict[Token, int] = {}
        own = list(map(self._words.get, tokens))
        if None in own:
            own = [
                new.setdefault(token, first_new + len(new)) if number is None else number
                for token, number in zip(tokens, own, strict=True)
            ]
        numbers = np.array(own, dtype=np.int64)
        occurrences = _occurrences(np.repeat(np.arange(len(texts)), lengths), numbers)
        for place in np.flatnonzero(occurrences).tolist():
            repeat = (int(numbers[place]), int(occurrences[place]) + 1)
            numbers[place] = self._repeats.get(repeat) or new.setdefault(repeat, first_new + len(new))
        return Numbered(numbers, lengths, first_new, list(new))

    def renumbered(self, numbered: Numbered) -> Numbered:
        """Texts that were numbered by this vocabulary before it grew, or by one that has fewer of its tokens, in the
        same order."""
        if numbered.first_new == len(self):
            return numbered
        first_new = len(self)
        new: dict[Token, int] = {}
        final = np.zeros(len(numbered.new), dtype=np.int64)
        for place, token in enumerate(numbered.new):
            token = _with_first(token, numbered.first_new, final)
            number = self._words.get(token) if isinstance(token, str) else self._repeats.get(token)
            final[place] = new.setdefault(token, first_new + len(new)) if number is None else number
        return Numbered(_replaced(numbered.numbers, numbered.first_new, final), numbered.lengths, first_new, list(new))

    def add(self, numbered: Numbered, used: NDArray[np.int64]) -> NDArray[np.int64]:
        """Add the new tokens among the `used` numbers, and return these as the vocabulary has them now."""
        if not numbered.new or not len(used) or used.max() < numbered.first_new:
            return used
        final = np.zeros(len(numbered.new), dtype=np.int64)
        tokens: list[Token] = []
        # In their order, so that a first occurrence is added before further ones.
        for place in np.unique(used[used >= numbered.first_new] - numbered.first_new).tolist():
            final[place] = len(self) + len(tokens)
            tokens.append(_with_first(numbered.new[place], numbered.first_new, final))
        self.extend(tokens)
        return _replaced(used, numbered.first_new, final)

    def extend(self, tokens: Sequence[Token]) -> None:
        """Add tokens that are not among those of the vocabulary, a first occurrence before further ones."""
        firsts: list[int] = []
        for number, token in enumerate(tokens, len(self)):
            if isinstance(token, str):
                self._words[token] = number
            else:
                self._repeats[token] = number
            firsts.append(number if isinstance(token, str) else token[0])
        self._firsts.append(firsts)

    def since(self, number: int) -> list[Token]:
        """The tokens from that number on, as `extend` takes them."""
        newest: list[Iterator[tuple[Token, int]]] = [reversed(self._words.items()), reversed(self._repeats.items())]
        tokens = {own: token for each in newest for token, own in itertools.takewhile(lambda it: it[1] >= number, each)}
        return [tokens[own] for own in sorted(tokens)]

    def words(self, numbered: Numbered) -> NDArray[np.int64]:
        """The texts' numbers, with the first occurrence's number for each further one."""
        new = [
            number if isinstance(token, str) else token[0]
            for number, token in enumerate(numbered.new, numbered.first_new)
        ]
        is_new = numbered.numbers >= numbered.first_new
        found = numbered.numbers.copy()
        found[is_new] = np.array(new, dtype=np.int64)[found[is_new] - numbered.first_new]
        found[~is_new] = self._firsts.values[found[~is_new]]
        return found

    def words_of(self, numbers: NDArray[np.integer]) -> NDArray[np.int32]:
        """Numbers of the vocabulary, with the first occurrence's number for each further one."""
        found: NDArray[np.int32] = self._firsts.values[numbers]
        return found


def _with_first(token: Token, first_new: int, final: NDArray[np.int64]) -> Token:
    """A token, as a further occurrence with the final number of the first."""
    if isinstance(token, str) or token[0] < first_new:
        return token
    return int(final[token[0] - first_new]), token[1]


def _replaced(numbers: NDArray[np.int64], first_new: int, final: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers with those from `first_new` on as they are finally."""
    found = numbers.copy()
    is_new = numbers >= first_new
    found[is_new] = final[numbers[is_new] - first_new]
    return found


def _occurrences(owners: NDArray[np.int64], numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each number came before in the text that owns it. Numbers are below 2^32."""
    keys = owners << 32 | numbers
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.diff(keys[order], prepend=-1))
    found = np.empty(len(keys), dtype=np.int64)
    found[order] = np.arange(len(keys)) - np.repeat(begins, np.diff(begins, append=len(keys)))
    return found
