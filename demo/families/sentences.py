"""Words and sentences to copy: plain English in plain shapes, whether or not it makes sense.

Some of the words are made up on the spot, so that they cannot be learnt by heart.
"""

import re
from functools import cache
from random import Random

from demo.families.family import words_of
from demo.families.lexicon import NAMES, NOUNS, SPARE
from pacos.generate.seeds import PACKAGED_SEEDS, load_seeds

_ONSETS = words_of("b bl br d dr f fl g gr h j k kl l m n p pl r s sk sl sp st t tr v w z")
_VOWELS = words_of("a e i o u ai ee oa ou")
_ENDS = words_of("b ck d ff g l m n nd nk p r rn s sh st t x")
_MADE_UP = 0.15  # share of made-up words

# Every verb takes -s and -ed.
_VERBS = words_of(
    "open help want need follow turn call clean paint lift pull guard visit join answer offer cover enter mention "
    "order pick test count collect deliver remember repair discover"
)
_QUALITIES = words_of(
    "big small old new cold warm quiet loud heavy light strange empty broken dark bright soft tall short early late "
    "sweet wide thin rare"
)
_LINKS = ("behind", "under", "near", "above", "with", "without", "beside", "inside", "next to", "in front of", "from")
_DETERMINERS = words_of("a this that every our your some no another")
_TIMES = (
    *("today", "tonight", "again", "at noon", "all day", "last week", "for a year", "every morning"),
    *("after lunch", "very slowly", "on Sunday", "for nothing", "at once", "by hand", "together"),
)
_STATEMENTS = (
    "The {noun} {verb}ed {link} {some} {other}.",
    "{name} {verb}ed {some} {noun} {link} the {other}.",
    "{name} {verb}s the {noun} {time}.",
    "There was {some} {quality} {noun} {link} the {other}.",
    "We {verb}ed the {quality} {noun} {time}.",
    "They never {verb} {some} {quality} {noun}.",
    "My {noun} and the {other} are {quality}.",
    "I can {verb} {some} {noun} if {name} is here.",
    "It was too {quality} for the {noun}.",
    "She thinks that {some} {noun} is {quality}.",
    "He will {verb} it {time}.",
    "You should {verb} the {noun} before {name} does.",
    "{name} has {some} {quality} {noun}, but it is {link} the {other}.",
    "No one {verb}s {some} {quality} {noun} {time}.",
    "A {quality} {noun} {verb}s more than {some} {other}.",
    "Please {verb} the {noun} {link} {some} {other}.",
)
_QUESTIONS = (
    "Who {verb}ed {some} {noun} {link} the {other}?",
    "Did {name} {verb} the {noun} {time}?",
    "How {quality} is the {noun} of {name}?",
    "What {verb}s {link} the {quality} {other}?",
)
_ASKED = 0.25  # share of questions


def made_up_word(rng: Random) -> str:
    """One or two syllables that spell no word: several tokens in any order."""
    first = f"{rng.choice(_ONSETS)}{rng.choice(_VOWELS)}"
    second = f"{rng.choice(_ONSETS)}{rng.choice(_VOWELS)}" if rng.random() < 0.6 else ""
    return f"{first}{second}{rng.choice(_ENDS)}"


def any_word(rng: Random) -> str:
    return made_up_word(rng) if rng.random() < _MADE_UP else rng.choice((*NOUNS, *SPARE))


def any_name(rng: Random) -> str:
    return made_up_word(rng).capitalize() if rng.random() < _MADE_UP else rng.choice(NAMES)


def any_sentence(rng: Random) -> str:
    """Five to fourteen words."""
    form = rng.choice(_QUESTIONS if rng.random() < _ASKED else _STATEMENTS)
    return form.format(
        noun=any_word(rng),
        other=any_word(rng),
        name=any_name(rng),
        verb=rng.choice(_VERBS),
        quality=rng.choice(_QUALITIES),
        link=rng.choice(_LINKS),
        some=rng.choice(_DETERMINERS),
        time=rng.choice(_TIMES),
    )


def scrambled(text: str, rng: Random) -> str:
    """Another word in each word's place: where a sentence can be foreseen, a small model does not copy it."""
    return re.sub(r"[\w'-]+", lambda word: _in_place_of(word[0], rng), text)


def _in_place_of(word: str, rng: Random) -> str:
    other = made_up_word(rng) if rng.random() < _MADE_UP else rng.choice(seed_words())
    return other.capitalize() if word[0].isupper() else other


@cache
def seed_words() -> tuple[str, ...]:
    """The words of the human-written tasks, as often as they stand there."""
    tasks = [seed.task for seed in load_seeds(PACKAGED_SEEDS)]
    texts = [text for task in tasks for text in (task.instruction, task.input, task.output)]
    return tuple(re.findall(r"[A-Za-z]+(?:['-][A-Za-z]+)*", " ".join(texts)))


def words_in(sentence: str) -> list[str]:
    return re.findall(r"[\w'-]+", sentence)
