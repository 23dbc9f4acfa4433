"""Numbers up to twenty: order, names, and sums that fit on two hands."""

from random import Random

from demo.families.family import Slots, lookup
from demo.families.lexicon import FRUITS, NAMES, NOUNS, NUMBER_WORDS, ORDINALS, SPARE

_WORD_OF = dict(zip(map(str, range(1, 21)), NUMBER_WORDS, strict=True))
_DIGITS_OF = {word: digits for digits, word in _WORD_OF.items()}
_ORDINAL_OF = dict(zip(map(str, range(1, 13)), ORDINALS, strict=True))


def _two(rng: Random) -> Slots:
    first, second = rng.sample(range(1, 21), 2)
    return {"a": str(first), "b": str(second)}


def _ages(rng: Random) -> Slots:
    first, second = rng.sample(NAMES, 2)
    return {"one": first, "two": second, **_two(rng)}


def _numbers(slots: Slots, *keys: str) -> list[int] | None:
    values = [slots[key] for key in keys]
    return [int(value) for value in values] if all(map(str.isdecimal, values)) else None


def _larger(slots: Slots) -> str | None:
    both = _numbers(slots, "a", "b")
    return str(max(both)) if both else None


def _smaller(slots: Slots) -> str | None:
    both = _numbers(slots, "a", "b")
    return str(min(both)) if both else None


def _older(slots: Slots) -> str | None:
    both = _numbers(slots, "a", "b")
    return (slots["one"] if both[0] > both[1] else slots["two"]) if both else None


def _is_greater(slots: Slots) -> str | None:
    both = _numbers(slots, "a", "b")
    return ("yes" if both[0] > both[1] else "no") if both else None


def _sum(slots: Slots) -> str | None:
    both = _numbers(slots, "a", "b")
    return str(sum(both)) if both else None


def _small_sum(rng: Random) -> Slots:
    return {
        "a": str(rng.randint(1, 5)),
        "b": str(rng.randint(1, 5)),
        "name": rng.choice(NAMES),
        "thing": rng.choice(FRUITS),
    }


def _draw_count(rng: Random) -> Slots:
    return {"items": ", ".join(rng.sample((*NOUNS, *SPARE), rng.randint(2, 5)))}


FAMILIES = (
    lookup(
        "number_to_word",
        "number",
        _WORD_OF,
        "Write the number {number} as a word.",
        "How do you spell {number} in letters?",
        "The check says {number}. Put this number into words.",
    ),
    lookup(
        "even_or_odd",
        "number",
        {str(n): "odd" if n % 2 else "even" for n in range(1, 21)},
        "Is the number {number} even or odd?",
        "Label {number} as even or odd.",
    ),
)
