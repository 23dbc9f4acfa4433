"""Who asks, and where: a frame set around an instruction.

A frame does not change the answer. It varies the wording of the list, as people do, and it must come off again
before a family can read its slots. A frame ends in a colon, so what follows keeps its capital letter.
"""

import re
from random import Random

from demo.families.lexicon import CITIES, JOBS, NAMES, PLACES

_FRAMES = (
    "{name} asks: {ask}",
    "{name} from {city} asks: {ask}",
    "{name} the {job} wants to know: {ask}",
    "In the {place}, {name} asked {other}: {ask}",
    "Help {name} the {job} with this: {ask}",
    "A note from {name} in {city} says: {ask}",
    "{name} and {other} are in {city} and ask: {ask}",
    "A task for {name} at the {place}: {ask}",
    "Please do this for {name} and {other}: {ask}",
    "Today at the {place}: {ask}",
)
_WORDS = {"name": NAMES, "other": NAMES, "city": CITIES, "job": JOBS, "place": PLACES}
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
