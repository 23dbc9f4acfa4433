"""One sentence in, the same sentence changed in one place out."""

import re
from collections.abc import Callable
from random import Random

from demo.families.family import Family, Slots, words_of
from demo.families.lexicon import CITIES, NAMES, PLACES, SPARE, THINGS

# base form, third person, past
_VERBS = (
    ("walk", "walks", "walked"),
    ("run", "runs", "ran"),
    ("go", "goes", "went"),
    ("drive", "drives", "drove"),
    ("return", "returns", "returned"),
    ("move", "moves", "moved"),
    ("come", "comes", "came"),
)
_BASE_OF = {third: base for base, third, _ in _VERBS}
_PAST_OF = {third: past for _, third, past in _VERBS}
_COMMANDS = {
    word.capitalize(): word for word in words_of("open close bring take find clean carry hold wash move paint fix")
}


def _trip(rng: Random, names: tuple[str, ...] | list[str] = NAMES) -> str:
    verb = rng.choice(_VERBS)[1]
    return f"{rng.choice(names)} {verb} to the {rng.choice(PLACES)}."


def _rewrite(pattern: str, change: Callable[[re.Match[str]], str | None]) -> Callable[[Slots], str | None]:
    """An answer by rewriting the whole sentence; none where the sentence has another shape."""
    compiled = re.compile(pattern)

    def solve(slots: Slots) -> str | None:
        match = compiled.fullmatch(slots["sentence"])
        return change(match) if match else None

    return solve


def _draw_place_added(rng: Random) -> Slots:
    sentence = f"{rng.choice(NAMES)} {rng.choice(('reads', 'buys', 'finds', 'sells'))} a {rng.choice(THINGS)}."
    return {"sentence": sentence, "city": rng.choice(CITIES)}


FAMILIES = (
    Family(
        "to_past",
        ("Put the sentence in the past tense.", "Rewrite this as if it happened yesterday."),
        lambda rng: {"sentence": _trip(rng)},
        _rewrite(r"(\w+) (\w+) (.+)", lambda m: f"{m[1]} {_PAST_OF[m[2]]} {m[3]}" if m[2] in _PAST_OF else None),
        input="{sentence+}",
    ),
    Family(
        "to_future",
        ("Put the sentence in the future with will.", "Rewrite this as a plan for tomorrow, with will."),
        lambda rng: {"sentence": _trip(rng)},
        _rewrite(r"(\w+) (\w+) (.+)", lambda m: f"{m[1]} will {_BASE_OF[m[2]]} {m[3]}" if m[2] in _BASE_OF else None),
        input="{sentence+}",
    ),
    Family(
        "add_place",
        ("Say at the end of the sentence that it happens in {city}.", "Add the city {city} to the sentence."),
        _draw_place_added,
        lambda slots: f"{slots['sentence'].removesuffix('.')} in {slots['city']}.",
        input="{sentence+}",
    ),
    Family(
        "polite",
        ("Make the command polite with please.", "Put please in front of the request."),
        lambda rng: {"sentence": f"{rng.choice(tuple(_COMMANDS))} the {rng.choice((*THINGS, *SPARE))}."},
        _rewrite(r"(\w+) (.+)", lambda m: f"Please {_COMMANDS[m[1]]} {m[2]}" if m[1] in _COMMANDS else None),
        input="{sentence+}",
    ),
)
