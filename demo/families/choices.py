"""One of two: kinds, sizes, true or false."""

from collections.abc import Callable
from random import Random

from demo.families.family import Family, Slots, distinct, words_of
from demo.families.lexicon import ANIMALS, CATEGORIES, CATEGORY_OF, CITIES, NAMES, SPARE, THINGS, TOOLS

_BY_SIZE = words_of("ant bee mouse hen cat fox sheep lion cow elephant whale")
_COUNTRIES = words_of("France Italy Spain Germany England Austria Portugal Norway Egypt Japan Greece Peru India Cuba")
_ALIVE = dict.fromkeys(ANIMALS, "yes") | dict.fromkeys((*THINGS, *TOOLS), "no")


def _draw_kind(rng: Random) -> Slots:
    one, two = rng.sample(tuple(CATEGORIES), 2)
    return {"one": one, "two": two, "word": rng.choice(CATEGORIES[rng.choice((one, two))])}


def _kind(slots: Slots) -> str | None:
    kind = CATEGORY_OF.get(slots["word"])
    return kind if kind in (slots["one"], slots["two"]) else None


def _draw_kind_claim(rng: Random) -> Slots:
    kind = rng.choice(tuple(CATEGORIES))
    shown = kind if rng.random() < 0.5 else rng.choice(tuple(CATEGORIES))
    return {"kind": shown, "word": rng.choice(CATEGORIES[kind])}


def _claim(holds: str, fails: str) -> Callable[[Slots], str | None]:
    def solve(slots: Slots) -> str | None:
        if slots["word"] not in CATEGORY_OF or slots["kind"] not in CATEGORIES:
            return None
        return holds if CATEGORY_OF[slots["word"]] == slots["kind"] else fails

    return solve


def _by_size(pick: Callable[..., str]) -> Callable[[Slots], str | None]:
    def solve(slots: Slots) -> str | None:
        both = (slots["a"], slots["b"])
        return pick(both, key=_BY_SIZE.index) if set(both) <= set(_BY_SIZE) else None

    return solve


def _draw_same(rng: Random) -> Slots:
    first, second = rng.sample(SPARE, 2)
    return {"a": first, "b": first if rng.random() < 0.5 else second}


def _draw_preference(rng: Random) -> Slots:
    return {**distinct(rng, SPARE, "a", "b"), "name": rng.choice(NAMES)}


FAMILIES = (
    Family(
        "kind_of",
        (
            "Is {word} a kind of {one} or a kind of {two}?",
            "Choose the right label for {word}: {one} or {two}.",
        ),
        _draw_kind,
        _kind,
    ),
    Family(
        "city_or_country",
        ("Is {word} a city or a country?", "Label the place {word} as city or country."),
        lambda rng: {"word": rng.choice(rng.choice((CITIES, _COUNTRIES)))},
        lambda slots: "city" if slots["word"] in CITIES else "country" if slots["word"] in _COUNTRIES else None,
    ),
)
