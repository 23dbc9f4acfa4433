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
        "last_item",
        ("Write the last item of the list.", "Which word ends this list?", "Name the final item of the row."),
        _listed,
        _item(-1),
        input="{items+}",
    ),
    Family(
        "second_item",
        ("Write the second item of the list.", "Which word is number two in this list?"),
        _listed,
        _item(1),
        input="{items+}",
    ),
    Family(
        "middle_word",
        (
            "Which word is in the middle: {a}, {b}, {c}?",
            "From left to right lie {a}, {b} and {c}. What is in between?",
        ),
        _three,
        lambda slots: slots["b"],
    ),
    Family(
        "reverse_three",
        ("Write {a}, {b}, {c} in reverse order.", "Turn the row {a}, {b}, {c} around."),
        _three,
        lambda slots: "{c}, {b}, {a}".format(**slots),
    ),
    Family(
        "join_two",
        (
            "Join {a} and {b} with a plus sign.",
            "Put a plus sign between the words {a} and {b}.",
        ),
        _two,
        lambda slots: "{a} + {b}".format(**slots),
    ),
    Family(
        "join_three",
        (
            "Write the words {a}, {b}, {c} with or before the last one.",
            "Offer a choice of {a}, {b}, {c} as a list with or.",
        ),
        _three,
        lambda slots: "{a}, {b} or {c}".format(**slots),
    ),
    Family(
        "odd_one_out",
        ("Which one does not belong: {a}, {b}, {c}?", "Find the odd one out of {a}, {b} and {c}."),
        _draw_odd,
        _odd,
    ),
    Family(
        "pick_kind",
        (
            "Which of these is a kind of {kind}: {a}, {b}, {c}?",
            "From {a}, {b} and {c}, choose the {kind}.",
        ),
        _draw_pick,
        _picked,
    ),
    Family(
        "append_item",
        ("Add {word} to the end of the list.", "Write the list again with {word} as its last item."),
        lambda rng: {**_listed(rng), "word": rng.choice(_WORDS)},
        lambda slots: f"{slots['items']}, {slots['word']}",
        input="{items+}",
    ),
    Family(
        "remove_item",
        ("Remove {word} from the list.", "Write the list again but leave out {word}."),
        _draw_removal,
        _without,
        input="{items+}",
    ),
    Family(
        "replace_item",
        ("Replace {old} with {new} in the list.", "Write the list with {new} in place of {old}."),
        _draw_swap,
        _swapped,
        input="{items+}",
    ),
    Family(
        "list_member",
        ("Is {word} in the list? Answer yes or no.", "Does this list hold the word {word}, yes or no?"),
        _draw_member,
        lambda slots: "yes" if slots["word"] in items_of(slots["items"]) else "no",
        input="{items+}",
    ),
    Family(
        "bullets",
        ("Write {a}, {b} and {c} as bullet points.", "Make a shopping list with a dash before {a}, {b} and {c}."),
        _three,
        lambda slots: "- {a}\n- {b}\n- {c}".format(**slots),
    ),
)
