"""Words and sentences to copy. Some words are made up on the spot, so that they cannot be learnt by heart."""

import re
from random import Random

from demo.families.family import words_of
from demo.families.lexicon import NAMES, NOUNS, SPARE

_ONSETS = words_of("b bl br d dr f fl g gr h j k kl l m n p pl r s sk sl sp st t tr v w z")
_VOWELS = words_of("a e i o u ai ee oa ou")
_ENDS = words_of("b ck d ff g l m n nd nk p r rn s sh st t x")
_LINKS = words_of("and near behind with under after before without beside like for over")
_VERBS = words_of("finds sees wants keeps moves opens needs brings follows loses hides turns holds calls")
_QUESTIONS = words_of("who what")
_ARTICLES = words_of("the a this that every our my one some no")
MADE_UP = 0.4  # share of such words


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
    """Four to twelve words in the shape of a sentence; it need not make sense to be copied."""
    asked = rng.random() < 0.2
    subject = rng.choice(_QUESTIONS) if asked else rng.choice((_thing, any_name))(rng)
    words = [subject, rng.choice(_VERBS), _thing(rng)]
    for share in (0.6, 0.3):
        if rng.random() < share:
            words += [rng.choice(_LINKS), _thing(rng)]
    text = " ".join(words)
    return f"{text[0].upper()}{text[1:]}{'?' if asked else '.'}"


def _thing(rng: Random) -> str:
    return f"{rng.choice(_ARTICLES)} {any_word(rng)}"


def words_in(sentence: str) -> list[str]:
    return re.findall(r"[\w'-]+", sentence)
