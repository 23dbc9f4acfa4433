"""The answer is a part of the input, word for word: which part differs, what the words are does not matter."""

from random import Random

from demo.families.family import Family, Slots, items_of
from demo.families.lexicon import NAMES, SURNAMES
from demo.families.sentences import any_name, any_sentence, any_word


def _named(rng: Random) -> Slots:
    return {"name": any_name(rng), "text": any_sentence(rng)}


def _full_name(rng: Random) -> Slots:
    return {"first": rng.choice(NAMES), "last": rng.choice(SURNAMES)}


def _listed(rng: Random) -> Slots:
    return {"items": ", ".join(any_word(rng) for _ in range(rng.randint(3, 5)))}


def _part(name: str, wanted: str, other: str, *asks: str, first: bool) -> Family:
    """One of two lines, by its label."""
    labels = (wanted, other) if first else (other, wanted)
    slots_of = ("text", "rest") if first else ("rest", "text")
    lines = "\n".join(f"{label}: {{{slot}+}}" for label, slot in zip(labels, slots_of, strict=True))

    def draw(rng: Random) -> Slots:
        return {"text": any_sentence(rng), "rest": any_sentence(rng)}

    return Family(name, asks, draw, lambda slots: slots["text"], input=lines)


FAMILIES = (
    Family(
        "what_was_said",
        ("Write what the speaker says.", "Leave out the speaker and keep the words.", "Drop the name in front."),
        _named,
        lambda slots: slots["text"],
        input="{name}: {text+}",
    ),
    Family(
        "who_said_it",
        ("Who says this? Give the name.", "Write only the name of the speaker.", "Name the person who talks here."),
        _named,
        lambda slots: slots["name"],
        input="{name}: {text+}",
    ),
    _part(
        "the_answer",
        "Answer",
        "Question",
        "Write the answer alone.",
        "Leave out the question and give the answer.",
        first=False,
    ),
    _part(
        "the_message",
        "Message",
        "Subject",
        "Write the message without its subject.",
        "What is the message?",
        first=False,
    ),
    _part("the_title", "Title", "Text", "Give the title of the text.", "Write the title only.", first=True),
    _part("right_one", "Right", "Wrong", "Which sentence is right?", "Write the right version.", first=False),
    _part("new_version", "New", "Old", "Give the new version.", "Write what is new and drop the old.", first=False),
    _part("the_order", "Order", "Reason", "Write down the order.", "What is the order here?", first=True),
    _part("the_plan", "Plan", "Today", "Which plan is given?", "Give the plan and nothing more.", first=False),
    Family(
        "first_item",
        ("Write the first item of the list.", "Which word stands at the start of this list?", "Name the item on top."),
        _listed,
        lambda slots: items_of(slots["items"])[0],
        input="{items+}",
    ),
    Family(
        "last_name_first",
        (
            "Write the name {first} {last} with the last name first and a comma.",
            "How does {first} {last} stand in an index of names?",
            "Sort the guests by surname. How is {first} {last} written then?",
        ),
        _full_name,
        lambda slots: "{last}, {first}".format(**slots),
    ),
    Family(
        "family_name",
        (
            "What is the last name of {first} {last}?",
            "Our guest is {first} {last}. Write only the family name.",
            "The door of {first} {last} shows the surname alone. What does it say?",
        ),
        _full_name,
        lambda slots: slots["last"],
    ),
)
