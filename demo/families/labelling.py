"""Two labels are named in the instruction, and one of them is the answer. The labels change from task to task."""

from collections.abc import Callable
from random import Random

from demo.families.family import Family, Slots
from demo.families.sentences import any_sentence, any_word

_LABELS = (
    *(("Yes", "No"), ("yes", "no"), ("true", "false"), ("right", "wrong"), ("found", "missing"), ("A", "B")),
    *(("present", "absent"), ("plus", "minus"), ("green", "red"), ("same", "other"), ("one", "two"), ("in", "out")),
)


def _label(name: str, draw: Callable[[Random, bool], str], holds: Callable[[str], bool | None], *asks: str) -> Family:
    """`draw` writes a line of which `holds` is true or false, as asked."""

    def slots(rng: Random) -> Slots:
        yes, no = rng.choice(_LABELS) if rng.random() < 0.5 else (any_word(rng), any_word(rng))
        return {"yes": yes, "no": no, "line": draw(rng, rng.random() < 0.5)}

    def solve(slots: Slots) -> str | None:
        verdict = holds(slots["line"])
        return None if verdict is None else slots["yes" if verdict else "no"]

    return Family(name, asks, slots, solve, input="{line+}")


def _ending(mark: str) -> Callable[[Random, bool], str]:
    return lambda rng, holds: f"{any_sentence(rng)[:-1]}{mark if holds else '.'}"


FAMILIES = (
    _label(
        "label_asking",
        _ending("?"),
        lambda line: line.endswith("?"),
        'Answer "{yes}" if the line ends with a question mark, "{no}" if with a period.',
        'Label the line: "{yes}" when something is asked, "{no}" when something is told.',
        'Choose "{yes}" for a question, otherwise choose "{no}".',
    ),
    _label(
        "label_shouting",
        _ending("!"),
        lambda line: line.endswith("!"),
        'Is the speaker loud? Write "{yes}" for an exclamation mark and "{no}" for none.',
        'Mark a shout with "{yes}", any calm remark with "{no}".',
        'An exclamation mark means "{yes}". Without it the answer is "{no}".',
    ),
)
