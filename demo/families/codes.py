"""Records, names and small formats: the answer stands in the text and must be found or copied."""

from random import Random

from demo.families.family import Family, Slots
from demo.families.lexicon import CITIES, FOODS, JOBS, NAMES, NOUNS, SPARE, SURNAMES

_FIELDS = {"name": NAMES, "city": CITIES, "job": JOBS, "food": FOODS}


def _draw_record(rng: Random) -> Slots:
    fields = rng.sample(tuple(_FIELDS), 3)
    record = "; ".join(f"{field}: {rng.choice(_FIELDS[field])}" for field in fields)
    return {"record": record, "field": rng.choice(fields)}


def _field(slots: Slots) -> str | None:
    pairs = (part.partition(": ") for part in slots["record"].split("; "))
    return {name: value for name, _, value in pairs}.get(slots["field"])


def _draw_full_name(rng: Random) -> Slots:
    return {"first": rng.choice(NAMES), "last": rng.choice(SURNAMES)}


def _word(rng: Random) -> Slots:
    return {"word": rng.choice((*NOUNS, *SPARE))}


FAMILIES = (
    Family(
        "last_name_first",
        (
            "Write the name {first} {last} with the last name first and a comma.",
            "How does {first} {last} stand in an index of names?",
        ),
        _draw_full_name,
        lambda slots: "{last}, {first}".format(**slots),
    ),
    Family(
        "family_name",
        ("What is the last name of {first} {last}?", "Our guest is {first} {last}. Write only the family name."),
        _draw_full_name,
        lambda slots: slots["last"],
    ),
    Family(
        "copy_word",
        ("Copy the word {word} exactly.", "Write down {word} and nothing else.", "Which word follows: {word}?"),
        _word,
        lambda slots: slots["word"],
    ),
)
