"""Answers of models, malformed (benchmarks/replies.py), then cut, spliced, shuffled, repeated, strewn with oddities."""

from collections.abc import Callable
from random import Random

from benchmarks.replies import SLIPS, malformed

ODD = (
    "\0", "\r", "\r\n", "\t", "\x85", "\u2028", "\u2029", "\u200b", "\ufeff", "\ud800", "\U0010ffff", "İ", "ﬁ", "́",
    "\u202e", "##", "###\n", "**", "__", ":", "：", "5.", "٣.", "12)", "(4) ", "- 4. ", "Input:", "Output:", "²",
    "\n7. Instruction:", "\n7. Output:\n", "task 3. input:", "<noinput>", "N/A", "```", "```json\n", "~~~", "\\n", '"',
    "{", '{"instruction": "Ask", "output": ', '[{"instruction": "', "}]", "<think>", "</think>", "\n<think>\n",
    "<|im_end|>", "</s>", "[/INST]", "Example 6", "\nExample 3\n", "Class label: ", "Score: 5", "Score:", "yes", "No.",
    "9" * 5_000, "\n" + "9" * 5_000 + ". ", "\nExample " + "9" * 5_000 + "\n", "[" * 2_000, '{"a":' * 2_000,
    " " * 3_000, "\n" * 500, "#" * 999, "`" * 3_000, "<think>" * 500, "*" * 3_000, "Score: " * 900,
)  # fmt: skip

Mutation = Callable[[str, Random], str]


def mutated_text(draw: Random) -> str:
    """A malformed answer with one to six mutations."""
    _, text = malformed(draw.choice(list(SLIPS)), draw)
    if draw.random() < 0.2:
        text = text[: draw.choice((0, 1, 20, 200))]
    for mutate in draw.choices(MUTATIONS, k=draw.randint(1, 6)):
        text = mutate(text, draw)
    return text


def _cut(text: str, draw: Random) -> str:
    return text[: draw.randint(0, len(text))]


def _drop(text: str, draw: Random) -> str:
    start = draw.randint(0, len(text))
    return text[:start] + text[start + draw.randint(1, 200) :]


def _insert(text: str, draw: Random) -> str:
    place = draw.randint(0, len(text))
    return text[:place] + draw.choice(ODD) * draw.randint(1, 3) + text[place:]


def _wrap(text: str, draw: Random) -> str:
    return draw.choice(ODD) + text + draw.choice(ODD)


def _repeat(text: str, draw: Random) -> str:
    start = draw.randint(0, len(text))
    end = start + draw.randint(1, 300)
    return text[:end] + text[start:end] * draw.randint(1, 20) + text[end:]


def _splice(text: str, draw: Random) -> str:
    _, other = malformed(draw.choice(list(SLIPS)), draw)
    return text[: draw.randint(0, len(text))] + other[draw.randint(0, len(other)) :]


def _shuffle_lines(text: str, draw: Random) -> str:
    lines = text.split("\n")
    start = draw.randint(0, len(lines))
    part = lines[start : start + 12]
    draw.shuffle(part)
    return "\n".join([*lines[:start], *part, *lines[start + 12 :]])


def _change_characters(text: str, draw: Random) -> str:
    characters = list(text)
    for _ in range(min(len(characters), draw.randint(1, 40))):
        characters[draw.randrange(len(characters))] = chr(draw.choice((draw.randrange(128), draw.randrange(0x110000))))
    return "".join(characters)


MUTATIONS: tuple[Mutation, ...] = (
    _cut, _drop, _insert, _insert, _insert, _wrap, _repeat, _splice, _shuffle_lines, _change_characters,
)  # fmt: skip
