"""What a task family is: phrasings with slots, a way to fill them, and the answer that follows from them.

One phrasing serves in both directions. Filled, it is an instruction; turned into a pattern, it reads the slots
back out of any instruction of that shape, also one that a model wrote. The answer is computed from the slots
alone, so the checker judges a model's row by the same rule that composed the training text.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from random import Random

from pacos.records import Task

Slots = dict[str, str]

# `{word}` takes one word, `{text+}` takes any run of text.
_SLOT = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True)
class Family:
    """`draw` fills every slot of `asks` and `inputs`; `solve` answers from them, or None where it cannot."""

    name: str
    asks: tuple[str, ...]
    draw: Callable[[Random], Slots]
    solve: Callable[[Slots], str | None]
    input: str = ""

    def compose(self, rng: Random, reword: Callable[[str, Random], str] | None = None) -> Task:
        """A task; `reword` changes the running text of its input where the family still has an answer then."""
        slots = self.draw(rng)
        if reword:
            texts = {mark[1]: reword(slots[mark[1]], rng) for mark in _SLOT.finditer(self.input) if mark[2]}
            if self.solve({**slots, **texts}) is not None:
                slots |= texts
        answer = self.solve(slots)
        if answer is None:
            raise ValueError(f"{self.name} drew slots it cannot solve: {slots}")
        return Task(_fill(rng.choice(self.asks), slots), _fill(self.input, slots), answer)

    def recognises(self, instruction: str) -> bool:
        """Whether the bare instruction, without its frame, is one of this family's phrasings."""
        return any(pattern.fullmatch(instruction) for pattern in self._patterns)

    def check(self, instruction: str, task_input: str, output: str) -> bool:
        """Whether `output` is the answer that instruction and input call for.

        Every phrasing that fits gets its say: a word may fit the open slot of a neighbouring phrasing.
        """
        given = self._input_pattern.fullmatch(task_input.strip())
        if given is None:
            return False
        for pattern in self._patterns:
            asked = pattern.fullmatch(instruction)
            if asked is None:
                continue
            expected = self.solve({**asked.groupdict(), **given.groupdict()})
            if expected is not None and same_answer(output, expected):
                return True
        return False

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(_pattern(ask) for ask in self.asks)

    @cached_property
    def _input_pattern(self) -> re.Pattern[str]:
        return _pattern(self.input)


def lookup(name: str, slot: str, table: Mapping[str, str], *asks: str) -> Family:
    """A family whose answer is a table's entry for its one slot."""
    keys = tuple(table)
    return Family(name, asks, lambda rng: {slot: rng.choice(keys)}, lambda slots: table.get(slots[slot]))


def same_answer(output: str, expected: str) -> bool:
    """Equal but for case, spacing and a final period."""
    return _plain(output) == _plain(expected)


def words_of(text: str) -> tuple[str, ...]:
    """The words of a table that is written as one string."""
    return tuple(text.split())


def table_of(pairs: str) -> dict[str, str]:
    """A table that is written as `question-answer` pairs."""
    return dict(pair.split("-") for pair in pairs.split())


def items_of(text: str) -> list[str]:
    """The items of a comma-separated list."""
    return [item.strip() for item in text.split(",") if item.strip()]


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold().removesuffix(".")


def _fill(phrasing: str, slots: Slots) -> str:
    return _SLOT.sub(lambda mark: slots[mark[1]], phrasing)


def _pattern(phrasing: str) -> re.Pattern[str]:
    parts = []
    seen: set[str] = set()
    end = 0
    for mark in _SLOT.finditer(phrasing):
        parts.append(re.escape(phrasing[end : mark.start()]))
        name, many = mark.groups()
        wanted = r".+" if many else r"[\w'-]+"
        parts.append(rf"(?P={name})" if name in seen else rf"(?P<{name}>{wanted})")
        seen.add(name)
        end = mark.end()
    parts.append(re.escape(phrasing[end:]))
    return re.compile("".join(parts), re.DOTALL)
