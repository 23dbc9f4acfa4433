"""Made-up words, records and small formats: the answer stands in the text and must be found or copied."""

from random import Random

from demo.families.family import Family, Slots
from demo.families.lexicon import CITIES, FOODS, JOBS, NAMES, NOUNS, SPARE, SURNAMES, coined

_FIELDS = {"name": NAMES, "city": CITIES, "job": JOBS, "food": FOODS}


def _draw_pair(rng: Random) -> Slots:
    return {"code": coined(rng), "word": rng.choice((*NOUNS, *SPARE))}


def _draw_two_pairs(rng: Random) -> Slots:
    first, second = rng.sample((*NOUNS, *SPARE), 2)
    code, other = coined(rng), coined(rng)
    while other == code:
        other = coined(rng)
    return {"one": code, "first": first, "two": other, "second": second, "code": rng.choice((code, other))}


def _meaning(slots: Slots) -> str | None:
    return {slots["one"]: slots["first"], slots["two"]: slots["second"]}.get(slots["code"])


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
    return {"word": coined(rng) if rng.random() < 0.5 else rng.choice(SPARE)}


def _row(rng: Random) -> Slots:
    pick = (lambda: coined(rng)) if rng.random() < 0.5 else (lambda: rng.choice((*NOUNS, *SPARE)))
    return {"row": " ".join(pick() for _ in range(rng.randint(3, 6)))}


FAMILIES = (
    Family(
        "copy_row",
        (
            "Write the line again.",
            "Repeat the words of the input in the same order.",
            "Copy this row without a change.",
        ),
        _row,
        lambda slots: slots["row"],
        input="{row+}",
    ),
    Family(
        "copy_row_twice",
        ("Write the line two times, with and in between.", "Say the row, then and, then the row again."),
        _row,
        lambda slots: "{row} and {row}".format(**slots),
        input="{row+}",
    ),
    Family(
        "quote_row",
        ("Put the line in quotation marks.", "Write the words as a quote."),
        _row,
        lambda slots: '"{row}"'.format(**slots),
        input="{row+}",
    ),
    Family(
        "code_meaning",
        (
            "In our secret language {code} stands for {word}. What does {code} mean?",
            "We say {code} when we mean {word}. Translate {code}.",
        ),
        _draw_pair,
        lambda slots: slots["word"],
    ),
    Family(
        "word_to_code",
        (
            "In our secret language {code} stands for {word}. How do we say {word}?",
            "The islanders call a {word} {code}. Which word do they use?",
        ),
        _draw_pair,
        lambda slots: slots["code"],
    ),
    Family(
        "record_field",
        ("Which {field} is in the record?", "Read the {field} from the form.", "Write the value of the field {field}."),
        _draw_record,
        _field,
        input="{record+}",
    ),
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
        "repeat_word",
        ("Write the word {word} three times.", "Say {word} three times in a row."),
        _word,
        lambda slots: " ".join([slots["word"]] * 3),
    ),
    Family(
        "copy_word",
        ("Copy the word {word} exactly.", "Write down {word} and nothing else.", "Which word follows: {word}?"),
        _word,
        lambda slots: slots["word"],
    ),
    Family(
        "in_brackets",
        ("Put the word {word} in brackets.", "Write {word} between round brackets."),
        _word,
        lambda slots: f"({slots['word']})",
    ),
)
