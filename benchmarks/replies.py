"""Replies of sixteen items, as a faithful model writes them, and the slips that base models make in them.

A slip takes the reply's items as texts and gives the reply; it changes form alone, so every task is still there to be
read. The classes are those on which the published Alpaca parser loses items (research on its parser: one repeated
number costs 12 of 16, numbers that start again cost all).
"""

import re
from collections.abc import Callable
from random import Random

from pacos.generate.prompting.alpaca import format_item
from pacos.records import Task

ITEMS = 16
FIRST = 4

Slip = Callable[[list[str], Random], list[str]]

VERBS = ("Explain", "List", "Rewrite", "Translate", "Classify", "Summarise", "Compare", "Name", "Describe", "Correct")
THINGS = (
    "the tides", "a garden wall", "three rivers", "the price of tea", "Ørsted's compass", "日本の春", "رسالة قصيرة",
    "a café menu", "the number 20.", "prime numbers", "an old bicycle", "школьный день", "two bus stops", "a lost key",
)  # fmt: skip
INPUTS = (
    "", "", "", "The lamp is red.\nThe door is not.", "Name: Ana\nAge: 31", "3, 5, 20., 41", "雨が降る。傘を持つ。",
    "- milk\n- bread\n\n- salt", "Output the word first: yes", "Was it 5. or 6.? Nobody knows.",
)  # fmt: skip
OUTPUTS = (
    "It is so.", "1. One\n2. Two\n3. Three", "a = 1\nprint(a)  # shows a", "Yes", "**Bold** claims need proof.",
    "First this.\n\nThen.", "Input: keyboard\nOutput: screen", "20. March\n21. March", "はい、そうです。", "x: y: z",
    "| a | b |\n|---|---|\n| 1 | 2 |", "The ratio is 3:4.", "## A heading\n\nand text under it", "1) left\n2) right",
)  # fmt: skip
HASHES = "###\n### A heading\n\n#### Another\n##\n"


def sixteen_tasks(draw: Random, *, hashes: bool = False) -> list[Task]:
    """Tasks that all differ, so that a row merged of two of them shows; with `hashes`, answers hold the separator."""
    return [
        Task(
            f"{draw.choice(VERBS)} {draw.choice(THINGS)} in way {number}.",
            f"{material} ({number})" if (material := draw.choice(INPUTS)) else "",
            f"{draw.choice(OUTPUTS)}\n{HASHES if hashes and draw.random() < 0.3 else ''}That was {number}.",
        )
        for number in range(ITEMS)
    ]


def repeated_number(items: list[str], draw: Random) -> list[str]:
    """One item bears the number of the item before it."""
    return _one(items, draw, lambda item, number: _renumber(item, number, number - 1))


def restarted_numbers(items: list[str], draw: Random) -> list[str]:
    """From some item on the numbers go 1, 2, 3 …"""
    start = draw.randrange(1, len(items))
    return [
        item if place < start else _renumber(item, FIRST + place, place - start + 1) for place, item in enumerate(items)
    ]


def no_separators(items: list[str], draw: Random) -> list[str]:
    return [item.removeprefix("###\n") for item in items]


def two_hashes(items: list[str], draw: Random) -> list[str]:
    return [item.replace("###\n", "##\n", 1) for item in items]


def one_pair_of_hashes(items: list[str], draw: Random) -> list[str]:
    """A single `##`, which upstream keeps as two tasks in one."""
    return _one(items, draw, lambda item, number: item.replace("###\n", "##\n", 1))


def bold_labels(items: list[str], draw: Random) -> list[str]:
    forms = (r"**\1. \2:**", r"\1. **\2**:", r"\1. **\2:**", r"**\1. \2**:")
    form = draw.choice(forms)
    return [re.sub(r"^(\d+)\. (Instruction|Input|Output):", form, item, flags=re.MULTILINE) for item in items]


def missing_input(items: list[str], draw: Random) -> list[str]:
    """Items without material leave out the label altogether."""
    return [re.sub(r"^\d+\. Input:\n<noinput>\n", "", item, flags=re.MULTILINE) for item in items]


def blank_lines(items: list[str], draw: Random) -> list[str]:
    return [re.sub(r"^(###|\d+\. (?:Input|Output):)$", r"\n\1\n", item, flags=re.MULTILINE) for item in items]


def wide_colons(items: list[str], draw: Random) -> list[str]:
    """Full-width colons, as models trained on Chinese write them."""
    return [re.sub(r"^(\d+\. (?:Instruction|Input|Output)):", r"\1：", item, flags=re.MULTILINE) for item in items]


SLIPS: dict[str, tuple[Slip, ...]] = {
    "none": (),
    "repeated number": (repeated_number,),
    "restarted numbers": (restarted_numbers,),
    "### inside answers": (),
    "no separators": (no_separators,),
    "## everywhere": (two_hashes,),
    "one ## among ###": (one_pair_of_hashes,),
    "bold labels": (bold_labels,),
    "missing Input": (missing_input,),
    "blank lines": (blank_lines,),
    "full-width colons": (wide_colons,),
    "mixture: repeated number, no separators": (repeated_number, no_separators),
    "mixture: restarted, bold, missing Input": (restarted_numbers, missing_input, bold_labels),
    "mixture: ### inside, restarted, ##": (restarted_numbers, two_hashes),
    "mixture: ### inside, no separators": (no_separators,),
    "mixture: restarted, missing Input, no separators": (restarted_numbers, missing_input, no_separators),
    "mixture: bold, blank lines, no separators": (bold_labels, blank_lines, no_separators),
}


def malformed(name: str, draw: Random) -> tuple[list[Task], str]:
    """Sixteen tasks and a reply that holds them with the slips of the class `name`."""
    tasks = sixteen_tasks(draw, hashes="### inside" in name)
    items = [format_item(number, task) for number, task in enumerate(tasks, FIRST)]
    for slip in SLIPS[name]:
        items = slip(items, draw)
    return tasks, _as_reply(items)


def _as_reply(items: list[str]) -> str:
    """The completion of a prompt that ends in the first item's label."""
    return re.sub(r"^.*?Instruction(?:\*\*)?[:：](?:\*\*)?", "", "".join(items), count=1, flags=re.DOTALL)


def _renumber(item: str, old: int, new: int) -> str:
    return re.sub(rf"^{old}\. (Instruction|Input|Output):", rf"{new}. \1:", item, flags=re.MULTILINE)


def _one(items: list[str], draw: Random, change: Callable[[str, int], str]) -> list[str]:
    place = draw.randrange(1, len(items))
    return [change(item, FIRST + place) if at == place else item for at, item in enumerate(items)]
