"""Whether text that a model was trained on holds the suite's inputs or references, by the measures of
`pacos.evaluate.contamination`: the same words, a common run of 13, ROUGE-L of 0.7 or more; five words at least.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from demo.suite_text import SUITE
from pacos.evaluate.contamination import Passage, PassageIndex
from pacos.records import Task


class Overlap(NamedTuple):
    """A text of the suite that turned up in training text; `measure` is exact, run or rougeL."""

    measure: str
    suite: str
    text: str


def suite_texts() -> set[str]:
    """The suite's inputs and references, and its inputs' lines without their labels."""
    texts = set()
    for task in SUITE:
        for given, references in task.pairs():
            texts |= {given, *references, *(line.partition(": ")[2] for line in given.splitlines())}
    return texts


def texts_of(tasks: Iterable[Task]) -> Iterator[str]:
    for task in tasks:
        yield from (task.instruction, task.input, task.output)


class SuiteIndex:
    """Finds the suite's texts in other text."""

    def __init__(self) -> None:
        self._index = PassageIndex(Passage("suite", "text", text) for text in sorted(suite_texts()))

    def overlaps(self, texts: Iterable[str]) -> list[Overlap]:
        """One entry for every text that overlaps, by the plainest measure that finds it."""
        found = (self._index.overlap(Passage("training", "text", text)) for text in dict.fromkeys(texts))
        return [Overlap(one.measure, one.indexed.text, one.passage.text) for one in found if one]
