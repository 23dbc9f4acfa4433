"""Short lists of words: picking, ordering, joining."""

from collections.abc import Callable
from random import Random

from demo.families.family import Family, Slots, distinct, items_of
from demo.families.lexicon import CATEGORIES, CATEGORY_OF, NOUNS, SPARE

_WORDS = (*NOUNS, *SPARE)


def _three(rng: Random) -> Slots:
    return distinct(rng, _WORDS, "a", "b", "c")


def _two(rng: Random) -> Slots:
    return distinct(rng, _WORDS, "a", "b")


def _listed(rng: Random) -> Slots:
    return {"items": ", ".join(rng.sample(_WORDS, rng.randint(3, 5)))}


def _item(position: int) -> Callable[[Slots], str | None]:
    def solve(slots: Slots) -> str | None:
        items = items_of(slots["items"])
        return items[position] if len(items) >= 3 else None

    return solve


def _draw_member(rng: Random) -> Slots:
    items = rng.sample(_WORDS, 4)
    word = rng.choice(items) if rng.random() < 0.5 else rng.choice(_WORDS)
    return {"items": ", ".join(items), "word": word}


def _draw_removal(rng: Random) -> Slots:
    items = rng.sample(_WORDS, 4)
    return {"items": ", ".join(items), "word": rng.choice(items)}


def _without(slots: Slots) -> str | None:
    items = items_of(slots["items"])
    return ", ".join(item for item in items if item != slots["word"]) if slots["word"] in items else None


def _draw_swap(rng: Random) -> Slots:
    items = rng.sample(_WORDS, 4)
    return {"items": ", ".join(items[:3]), "old": rng.choice(items[:3]), "new": items[3]}


def _swapped(slots: Slots) -> str | None:
    items = items_of(slots["items"])
    if slots["old"] not in items:
        return None
    return ", ".join(slots["new"] if item == slots["old"] else item for item in items)


def _draw_pick(rng: Random) -> Slots:
    kinds = rng.sample(tuple(CATEGORIES), 3)
    words = [rng.choice(CATEGORIES[kind]) for kind in kinds]
    return {"kind": rng.choice(kinds), **dict(zip("abc", words, strict=True))}


def _picked(slots: Slots) -> str | None:
    fitting = [slots[key] for key in "abc" if CATEGORY_OF.get(slots[key]) == slots["kind"]]
    return fitting[0] if len(fitting) == 1 else None


def _draw_odd(rng: Random) -> Slots:
    kind, other = rng.sample(tuple(CATEGORIES), 2)
    words = [*rng.sample(CATEGORIES[kind], 2), rng.choice(CATEGORIES[other])]
    rng.shuffle(words)
    return dict(zip("abc", words, strict=True))


def _odd(slots: Slots) -> str | None:
    kinds = [CATEGORY_OF.get(slots[key]) for key in "abc"]
    single = [key for key, kind in zip("abc", kinds, strict=True) if kinds.count(kind) == 1]
    return slots[single[0]] if len(single) == 1 else None


FAMILIES = (
    Family(
        "first_item",
        ("Write the first item of the list.", "Which word stands at the start of this list?", "Name the item on top."),
        _listed,
        _item(0),
        input="{items+}",
    ),
    Family(
        "list_member",
        ("Is {word} in the list? Answer yes or no.", "Does this list hold the word {word}, yes or no?"),
        _draw_member,
        lambda slots: "yes" if slots["word"] in items_of(slots["items"]) else "no",
        input="{items+}",
    ),
)
