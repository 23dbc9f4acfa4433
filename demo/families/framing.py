"""Who asks, and where: a frame set around an instruction.

A frame does not change the answer. It varies the wording of a list, as people do, and must come off again before a
family can read its slots. It ends in a colon, so that what follows keeps its capital letter, and its words are in
no other table, so that they cannot be mistaken for a slot's.
"""

import re
from random import Random

from demo.families.family import words_of

_ASKERS = words_of("aunt boss coach cousin friend grandmother guide landlord librarian mentor neighbor roommate uncle")
_MOODS = words_of("busy careful cheerful curious kind patient polite quiet sleepy worried")
_SPOTS = words_of("airport balcony classroom clinic corridor elevator farmhouse gym lobby meadow terrace tunnel")
_TIMES = words_of("afternoon evening morning night noon weekend")
_FRAMES = (
    "My {asker} asks: {ask}",
    "My {mood} {asker} wants to know: {ask}",
    "In the {spot}, a {mood} {asker} asked me: {ask}",
    "Help my {asker} at the {spot} with this: {ask}",
    "A note in the {spot} says: {ask}",
    "This {time} our {asker} said: {ask}",
    "For the {mood} {asker} in the {spot}: {ask}",
    "A {time} task from the {spot}: {ask}",
    "While we wait in the {spot} until {time}, please: {ask}",
    "Someone {mood} left this for tonight: {ask}",
    "Our {asker} teaches every {time} and sets this: {ask}",
    "Good {time}, dear machine: {ask}",
    "If you are not too {mood}, do this next: {ask}",
    "Work for the {asker}, to be done before {time}: {ask}",
)
_WORDS = {"asker": _ASKERS, "mood": _MOODS, "spot": _SPOTS, "time": _TIMES}
_BARE_SHARE = 0.4


def _as_pattern(frame: str) -> re.Pattern[str]:
    escaped = re.escape(frame)
    for slot in _WORDS:
        escaped = escaped.replace(re.escape("{" + slot + "}"), r"[\w'-]+")
    return re.compile(escaped.replace(re.escape("{ask}"), r"(?P<ask>.+)"), re.DOTALL)


_PATTERNS = tuple(_as_pattern(frame) for frame in _FRAMES)


def framed(instruction: str, rng: Random) -> str:
    """The instruction, more often than not with a frame around it."""
    if rng.random() < _BARE_SHARE:
        return instruction
    frame = rng.choice(_FRAMES)
    words = {slot: rng.choice(choices) for slot, choices in _WORDS.items()}
    return frame.format(ask=instruction, **words)


def unframed(instruction: str) -> str:
    """The instruction without its frame, if it has one."""
    for pattern in _PATTERNS:
        if match := pattern.fullmatch(instruction):
            return match["ask"]
    return instruction
