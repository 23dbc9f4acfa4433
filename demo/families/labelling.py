"""Two labels are named in the instruction, and one of them is the answer. The labels change from task to task."""

from collections.abc import Callable
from random import Random

from demo.families.family import Family, Slots, words_of
from demo.families.sentences import any_sentence, any_word, words_in

_LABELS = (
    *(("Yes", "No"), ("yes", "no"), ("true", "false"), ("right", "wrong"), ("found", "missing"), ("A", "B")),
    *(("present", "absent"), ("plus", "minus"), ("green", "red"), ("same", "other"), ("one", "two"), ("in", "out")),
)
_GOOD = words_of("great lovely tasty warm clean friendly fresh wonderful nice good")
_BAD = words_of("awful dirty cold rude broken stale noisy terrible ugly bad")
_REMARKS = ("The {noun} was {quality}.", "What a {quality} {noun}!", "I found the {noun} {quality}.")


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


def _opening(word: str, other: str) -> Callable[[Random, bool], str]:
    return lambda rng, holds: f"{word if holds else other}, {any_sentence(rng)}"


def _remark(rng: Random, holds: bool) -> str:
    return rng.choice(_REMARKS).format(noun=any_word(rng), quality=rng.choice(_GOOD if holds else _BAD))


def _is_kind(line: str) -> bool | None:
    words = set(words_in(line))
    good, bad = bool(words & set(_GOOD)), bool(words & set(_BAD))
    return None if good == bad else good


def _numbered(rng: Random, holds: bool) -> str:
    line = any_sentence(rng)
    return f"{line[:-1]} {rng.randint(2, 20)}{line[-1]}" if holds else line


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
    _label(
        "label_agreeing",
        _opening("Yes", "No"),
        lambda line: line.startswith("Yes,"),
        'The reply begins with yes or no. Give "{yes}" after a yes and "{no}" after a no.',
        'Does the other one agree? If so, answer "{yes}". If not, answer "{no}".',
        'Sort the replies: those that agree are "{yes}", those that refuse are "{no}".',
    ),
    _label(
        "label_when",
        _opening("Today", "Tomorrow"),
        lambda line: line.startswith("Today,"),
        'Decide if it happens today, "{yes}", or tomorrow, "{no}".',
        'Write "{yes}" under news of today and "{no}" under plans for tomorrow.',
        'Which is it? "{yes}" stands for this day, "{no}" stands for the next.',
    ),
    _label(
        "label_liking",
        _remark,
        _is_kind,
        'Does the guest like it? Give "{yes}" if so, and "{no}" if the guest is cross.',
        'Judge the remark: a kind one is "{yes}", an unkind one is "{no}".',
        'Label praise as "{yes}" and blame as "{no}".',
    ),
    _label(
        "label_number",
        _numbered,
        lambda line: any(character.isdecimal() for character in line),
        'Look for a number. Answer "{yes}" where there is one, else "{no}".',
        'Are there digits in the text? Say "{yes}" or "{no}".',
        'Class "{yes}" holds texts with a figure in them. All others belong to class "{no}".',
    ),
)
