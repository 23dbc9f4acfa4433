"""The task families that the demonstration's base model learns to write and to answer.

`compose` makes a task, `recognise` names the family of an instruction whoever wrote it, and `is_correct` works the
answer out again from the text. No family is a task of the evaluation suite.
"""

from random import Random

from demo.families import (
    copying,
    decorating,
    editing,
    knowledge,
    labelling,
    reading,
    word_forms,
    writing,
)
from demo.families.family import Family
from demo.families.framing import framed, unframed
from demo.families.sentences import scrambled
from pacos.records import Task

FAMILIES: tuple[Family, ...] = (
    *copying.FAMILIES,
    *decorating.FAMILIES,
    *labelling.FAMILIES,
    *word_forms.FAMILIES,
    *knowledge.FAMILIES,
    *editing.FAMILIES,
    *reading.FAMILIES,
    *writing.FAMILIES,
)


def compose(family: Family, rng: Random, *, scramble: bool = False) -> Task:
    """A task of the family, its instruction framed at random; the words of its input are exchanged if `scramble`."""
    task = family.compose(rng, scrambled if scramble else None)
    return Task(framed(task.instruction, rng), task.input, task.output)


def recognise(instruction: str) -> Family | None:
    """The family whose phrasing the instruction is, or None."""
    bare = unframed(" ".join(instruction.split()))
    return next((family for family in FAMILIES if family.recognises(bare)), None)


def is_correct(task: Task) -> bool | None:
    """Whether the output answers the task; None where no family recognises the instruction."""
    bare = unframed(" ".join(task.instruction.split()))
    families = [family for family in FAMILIES if family.recognises(bare)]
    if not families:
        return None
    return any(family.check(bare, task.input, task.output) for family in families)
