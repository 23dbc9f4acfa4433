"""Short pieces of writing in a fixed form."""

from random import Random

from demo.families.family import Family, Slots
from demo.families.lexicon import CITIES, COLORS, FOODS, JOBS, NAMES, THINGS

_WORDS = {
    "name": NAMES,
    "other": NAMES,
    "thing": THINGS,
    "color": COLORS,
    "city": CITIES,
    "food": FOODS,
    "job": JOBS,
}


def _form(name: str, form: str, *asks: str) -> Family:
    """A family whose answer is `form` with the slots of the instruction."""

    def draw(rng: Random) -> Slots:
        return {slot: rng.choice(choices) for slot, choices in _WORDS.items()}

    return Family(name, asks, draw, lambda slots: form.format(**slots))


FAMILIES = (
    _form(
        "birthday",
        "Happy birthday, {name}! Enjoy your {food}.",
        "Write a birthday card for {name} with a word about {food}.",
        "{name} has a birthday and gets {food}. Write a greeting.",
    ),
    _form(
        "thank_you",
        "Dear {name}, thank you for the {color} {thing}.",
        "Thank {name} for the {color} {thing} in a short note.",
        "{name} gave me a {color} {thing}. Write a line of thanks.",
    ),
    _form(
        "apology",
        "Sorry, {name}, I lost your {thing}.",
        "Tell {name} that you are sorry about the lost {thing}.",
        "I lost the {thing} that belongs to {name}. Write an apology.",
    ),
    _form(
        "introduction",
        "My name is {name} and I work as a {job} in {city}.",
        "Introduce yourself as {name}, a {job} in {city}.",
        "You are {name}, you live in {city} and you are a {job}. Say so.",
    ),
    _form(
        "gift_tag",
        "To {name}, from {other}",
        "Write a tag for a gift that {other} gives to {name}.",
        "A present goes to {name}. It comes from {other}. Write the tag.",
    ),
)
