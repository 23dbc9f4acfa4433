"""The base model's text: numbered task lists, composed from the families.

There are three kinds of documents: single items, short stretches out of the middle of a list, and whole lists as the
pipeline asks for them, with its prompt and three seed tasks in front. A model learns to take words from the item it
is writing best where there is no other, and where the words make no sense. Each kind is endless, and the same for
the same seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from random import Random
from typing import NamedTuple

from demo.families import FAMILIES, compose
from pacos.generate.prompts import format_item, list_prompt
from pacos.generate.seeds import PACKAGED_SEEDS, load_seeds
from pacos.records import Task

SHOWN = 3
NEW_TASKS = 20

# What is shown in front of a list is not learnt. Outputs weigh more than instructions, whose slots are drawn at
# random and teach nothing once the phrasings are known; inputs without sense are there to be copied, not written.
CONTEXT_WEIGHT = 0.0
ITEM_WEIGHT = 1.0
SCRAMBLED_WEIGHT = 0.1
OUTPUT_WEIGHT = 4.0

# Shares of the documents whose inputs have their words exchanged at random.
SCRAMBLED_ITEMS, SCRAMBLED_STRETCHES = 0.6, 0.3


class Span(NamedTuple):
    """A piece of a document with the weight of its loss."""

    text: str
    weight: float


@dataclass(frozen=True)
class Document:
    """A list's items from number `first` on; `context` is the text in front of them."""

    context: str
    first: int
    tasks: tuple[Task, ...]
    scrambled: bool = False

    def spans(self) -> Iterator[Span]:
        if self.context:
            yield Span(self.context, CONTEXT_WEIGHT)
        for number, task in enumerate(self.tasks, self.first):
            output = f"{task.output}\n"
            asked, label, rest = format_item(number, task).removesuffix(output).partition(f"{number}. Input:\n")
            yield Span(f"{asked}{label}", ITEM_WEIGHT)
            yield Span(rest, SCRAMBLED_WEIGHT if self.scrambled else ITEM_WEIGHT)
            yield Span(output, OUTPUT_WEIGHT)


class Amounts(NamedTuple):
    """How many documents of each kind a base model has seen: enough to compose its text again."""

    seed: int
    single_items: int
    stretches: int
    whole_lists: int


@cache
def seed_tasks() -> tuple[Task, ...]:
    """The human-written tasks that the pipeline shows in front of every list."""
    return tuple(seed.task for seed in load_seeds(PACKAGED_SEEDS))


def single_items(seed: int) -> Iterator[Document]:
    """One item each, under any number that a list has."""
    rng = Random(f"{seed} single items")
    while True:
        scramble = rng.random() < SCRAMBLED_ITEMS
        yield Document("", rng.randint(1, SHOWN + NEW_TASKS), _tasks(rng, 1, scramble), scramble)


def stretches(seed: int) -> Iterator[Document]:
    """Short stretches out of the middle of a list."""
    rng = Random(f"{seed} stretches")
    last = SHOWN + NEW_TASKS
    while True:
        count = rng.randint(4, 12)
        scramble = rng.random() < SCRAMBLED_STRETCHES
        yield Document("", rng.randint(1, last - count + 1), _tasks(rng, count, scramble), scramble)


def whole_lists(seed: int) -> Iterator[Document]:
    """Lists as the pipeline asks for them."""
    rng = Random(f"{seed} whole lists")
    opening = f"###\n{SHOWN + 1}. Instruction:"
    while True:
        prompt = list_prompt(rng.sample(seed_tasks(), SHOWN), NEW_TASKS)
        yield Document(prompt.removesuffix(opening), SHOWN + 1, _tasks(rng, NEW_TASKS))


def tasks_of(amounts: Amounts) -> Iterator[Task]:
    """Every composed task that a base model has seen."""
    for document in islice(single_items(amounts.seed), amounts.single_items):
        yield from document.tasks
    for document in islice(stretches(amounts.seed), amounts.stretches):
        yield from document.tasks
    for document in islice(whole_lists(amounts.seed), amounts.whole_lists):
        yield from document.tasks


def _tasks(rng: Random, count: int, scramble: bool = False) -> tuple[Task, ...]:
    """Tasks of different families, so that a list is as varied as its prompt asks."""
    return tuple(compose(family, rng, scramble=scramble) for family in rng.sample(FAMILIES, count))
