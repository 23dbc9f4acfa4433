"""The answer stands in the input, word for word: what to copy differs, what the words are does not matter.

Some of the words are made up on the spot, so that none of these families can be learnt by heart.
"""

import re
from random import Random

from demo.families.family import Family, Slots, words_of
from demo.families.lexicon import NAMES, NOUNS, SPARE

_ONSETS = words_of("b bl br d dr f fl g gr h j k kl l m n p pl r s sk sl sp st t tr v w z")
_VOWELS = words_of("a e i o u ai ee oa ou")
_ENDS = words_of("b ck d ff g l m n nd nk p r rn s sh st t x")
_LINKS = words_of("and near behind with under after before without beside like for over")
_VERBS = words_of("finds sees wants keeps moves opens needs brings follows loses hides turns holds calls")
_ARTICLES = words_of("the a this that every our my one some no")
MADE_UP = 0.3  # share of such words


def made_up_word(rng: Random) -> str:
    """One or two syllables that spell no word: several tokens in any order."""
    first = f"{rng.choice(_ONSETS)}{rng.choice(_VOWELS)}"
    second = f"{rng.choice(_ONSETS)}{rng.choice(_VOWELS)}" if rng.random() < 0.6 else ""
    return f"{first}{second}{rng.choice(_ENDS)}"


def any_word(rng: Random) -> str:
    return made_up_word(rng) if rng.random() < MADE_UP else rng.choice((*NOUNS, *SPARE))


def any_name(rng: Random) -> str:
    return made_up_word(rng).capitalize() if rng.random() < MADE_UP else rng.choice(NAMES)


def any_sentence(rng: Random) -> str:
    """Four to ten words in the shape of a sentence; it need not make sense to be copied."""
    words = [rng.choice(_ARTICLES), any_word(rng)] if rng.random() < 0.6 else [any_name(rng)]
    words += [rng.choice(_VERBS), rng.choice(_ARTICLES), any_word(rng)]
    if rng.random() < 0.6:
        words += [rng.choice(_LINKS), rng.choice(_ARTICLES), any_word(rng)]
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}."


def words_in(sentence: str) -> list[str]:
    return re.findall(r"[\w'-]+", sentence)


def _one(rng: Random) -> Slots:
    return {"text": any_sentence(rng)}


def _quoted(rng: Random) -> Slots:
    text = any_sentence(rng)
    word = rng.choice(words_in(text)[1:])
    return {"text": re.sub(rf"\b{word}\b", f'"{word}"', text, count=1)}


def _in_quotes(slots: Slots) -> str | None:
    found: list[str] = re.findall(r'"([\w\'-]+)"', slots["text"])
    return found[0] if len(found) == 1 else None


def _named(rng: Random) -> Slots:
    return {"name": any_name(rng), "text": any_sentence(rng)}


def _whole(name: str, *asks: str) -> Family:
    """The input as it is."""
    return Family(name, asks, _one, lambda slots: slots["text"], input="{text+}")


def _part(name: str, wanted: str, other: str, *asks: str, first: bool) -> Family:
    """One of two lines, by its label."""
    labels = (wanted, other) if first else (other, wanted)
    slots_of = ("text", "rest") if first else ("rest", "text")
    lines = "\n".join(f"{label}: {{{slot}+}}" for label, slot in zip(labels, slots_of, strict=True))

    def draw(rng: Random) -> Slots:
        return {"text": any_sentence(rng), "rest": any_sentence(rng)}

    return Family(name, asks, draw, lambda slots: slots["text"], input=lines)


FAMILIES = (
    _whole(
        "repeat_input",
        "Copy the given line word for word.",
        "Type the line below once more, without a change.",
        "You are given a line. Give the same line back.",
        "Echo what stands in the input.",
    ),
    _whole(
        "read_aloud",
        "Read the text to the class.",
        "What does the text say?",
        "Tell me the sentence that you were given.",
    ),
    _whole("take_down", "Take this down for the record.", "Write down what you hear.", "Put this on the board."),
    Family(
        "word_in_quotes",
        (
            "One word of the line is in quotes. Write this word.",
            "Give the quoted word without its quotes.",
            "Which word did the writer put in quotes?",
        ),
        _quoted,
        _in_quotes,
        input="{text+}",
    ),
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
    _part("line_one", "Line 1", "Line 2", "Give back line 1.", "Keep line 1 and drop line 2.", first=True),
    _part("line_two", "Line 2", "Line 1", "Give back line 2.", "Keep line 2 and drop line 1.", first=False),
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
)
