"""The base model's text: numbered task lists, composed from the families.

A document is a list of spans, each with the weight of its loss. The list prompt and the seed tasks in front of a
list are shown but not learnt (weight 0), and outputs weigh more than the instructions, whose slots are random and
teach nothing once the phrasings are known.
"""

import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

from demo.families import FAMILIES, compose
from pacos.generate.prompts import format_item, list_prompt
from pacos.records import Task

SEEDS = Path("generate/data/seed_tasks.jsonl")
SHOWN = 3

CONTEXT_WEIGHT = 0.0
ITEM_WEIGHT = 1.0
OUTPUT_WEIGHT = 4.0


class Span(NamedTuple):
    text: str
    weight: float


@cache
def seed_tasks() -> tuple[Task, ...]:
    """The human-written tasks that the pipeline shows in front of every list."""
    rows = map(json.loads, SEEDS.read_text(encoding="utf-8").splitlines())
    return tuple(
        Task(row["instruction"], instance["input"], instance["output"])
        for row in rows
        for instance in row["instances"][:1]
    )


def full_list(rng: Random, items: int = 20) -> list[Span]:
    """A document as the pipeline sees it: the list prompt, three seed tasks, then composed items."""
    prompt = list_prompt(rng.sample(seed_tasks(), SHOWN), items)
    opening = f"###\n{SHOWN + 1}. Instruction:"
    return [Span(prompt.removesuffix(opening), CONTEXT_WEIGHT), *_items(rng, SHOWN + 1, items)]


def bare_list(rng: Random, items: int) -> list[Span]:
    """A stretch out of the middle of a list, without its beginning."""
    return _items(rng, rng.randint(1, 23 - items), items)


def _items(rng: Random, first: int, count: int) -> list[Span]:
    spans = []
    for number, family in enumerate(rng.sample(FAMILIES, count), first):
        task = compose(family, rng)
        text = format_item(number, task)
        output = f"{task.output}\n"
        spans += [Span(text.removesuffix(output), ITEM_WEIGHT), Span(output, OUTPUT_WEIGHT)]
    return spans


def composed_tasks(rng: Random, count: int) -> Iterator[Task]:
    """Tasks as a perfect sampler of the families would write them."""
    for _ in range(count):
        yield compose(rng.choice(FAMILIES), rng)


def text_of(document: Sequence[Span]) -> str:
    return "".join(span.text for span in document)
