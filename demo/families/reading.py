"""Questions about a sentence or two of input."""

import re
from random import Random

from demo.families.family import Family, Slots, words_of
from demo.families.lexicon import CITIES, COLORS, DAYS, NAMES, SPARE, THINGS

_SCENES = (
    "{name} bought a {color} {thing} in {city} on {day}.",
    "On {day}, {name} found a {color} {thing} in {city}.",
    "It was {day} in {city}. {name} lost a {color} {thing}.",
    "A {color} {thing} came from {city} on {day}. It is for {name}.",
    "{name} has a {color} {thing}. It was made in {city} on a {day}.",
)
_GOOD = words_of("great lovely tasty warm clean friendly fresh wonderful")
_BAD = words_of("awful dirty cold rude broken stale noisy terrible")


def _scene_patterns(templates: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>\\w+)", re.escape(template))) for template in templates)


_SCENE_PATTERNS = _scene_patterns(_SCENES)


def _facts(text: str, patterns: tuple[re.Pattern[str], ...]) -> Slots:
    return next((match.groupdict() for pattern in patterns if (match := pattern.fullmatch(text))), {})


def _draw_scene(rng: Random) -> Slots:
    words = {"name": NAMES, "color": COLORS, "thing": THINGS, "city": CITIES, "day": DAYS}
    return {"text": rng.choice(_SCENES).format(**{slot: rng.choice(choices) for slot, choices in words.items()})}


def _about_scene(name: str, fact: str, *asks: str) -> Family:
    return Family(
        name, asks, _draw_scene, lambda slots: _facts(slots["text"], _SCENE_PATTERNS).get(fact), input="{text+}"
    )


def _draw_opinion(rng: Random) -> Slots:
    quality = rng.choice(_GOOD if rng.random() < 0.5 else _BAD)
    noun, city = rng.choice(words_of("soup hotel room bus cake trip waiter coffee bread bed")), rng.choice(CITIES)
    template = rng.choice(("The {n} in {c} was {q}.", "What a {q} {n} we had in {c}!", "I found the {n} {q}."))
    return {"text": template.format(n=noun, c=city, q=quality)}


def _opinion(slots: Slots) -> str | None:
    words = set(re.findall(r"\w+", slots["text"]))
    good, bad = bool(words & set(_GOOD)), bool(words & set(_BAD))
    return None if good == bad else "positive" if good else "negative"


def _draw_sentence_kind(rng: Random) -> Slots:
    noun, name = rng.choice((*SPARE, *THINGS)), rng.choice(NAMES)
    asked = rng.choice((f"Where is the {noun}?", f"Does {name} have a {noun}?", f"Is this the {noun}?"))
    told = rng.choice((f"The {noun} is here.", f"{name} has a {noun}.", f"This is the {noun}."))
    return {"text": rng.choice((asked, told))}


FAMILIES = (
    _about_scene(
        "who",
        "name",
        "Who is the text about?",
        "Write the name of the person in the text.",
        "Find the name in this sentence.",
    ),
    _about_scene(
        "when",
        "day",
        "On which day does this happen?",
        "Write the day that the text names.",
        "Find the weekday in this sentence.",
    ),
    Family(
        "opinion",
        (
            "Is this opinion positive or negative?",
            "Label the review as positive or negative.",
            "Choose the right label: positive or negative.",
        ),
        _draw_opinion,
        _opinion,
        input="{text+}",
    ),
    Family(
        "sentence_kind",
        ("Is this a question or a statement?", "Label the sentence: question or statement."),
        _draw_sentence_kind,
        lambda slots: "question" if slots["text"].endswith("?") else "statement",
        input="{text+}",
    ),
)
