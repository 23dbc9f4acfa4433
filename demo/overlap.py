"""Whether text that a model was trained on holds the suite's inputs or references.

Three measures, from plain to strict: the same text but for case and punctuation; a common run of 13 words, the
usual measure for web text, though most of the suite's texts are shorter; ROUGE-L of 0.7 or more, the bound that
the pipeline itself uses for novelty. Texts of fewer than five words are left out: "Yes" and "hat" prove nothing.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from demo.suite_text import SUITE
from pacos.records import Task
from pacos.rouge import NoveltyIndex, tokenize

LEAST_WORDS = 5
RUN = 13
ROUGE_L = 0.7


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
    return {text for text in texts if len(tokenize(text, stemmer=False)) >= LEAST_WORDS}


def texts_of(tasks: Iterable[Task]) -> Iterator[str]:
    for task in tasks:
        yield from (task.instruction, task.input, task.output)


class SuiteIndex:
    """Finds the suite's texts in other text."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, ...], str] = {}
        self._runs: dict[tuple[str, ...], str] = {}
        # NoveltyIndex asks for strictly above; a hair below the bound makes it "0.7 or more".
        self._near = NoveltyIndex(ROUGE_L - 1e-9)
        for text in sorted(suite_texts()):
            words = tuple(tokenize(text, stemmer=False))
            self._exact[words] = text
            self._runs |= dict.fromkeys(_runs(words), text)
            self._near.add(text, text)

    def overlaps(self, texts: Iterable[str]) -> list[Overlap]:
        """One entry for every text that overlaps, by the plainest measure that finds it."""
        found = (self._overlap(text) for text in dict.fromkeys(texts))
        return [overlap for overlap in found if overlap]

    def _overlap(self, text: str) -> Overlap | None:
        words = tuple(tokenize(text, stemmer=False))
        if len(words) < LEAST_WORDS:
            return None
        if words in self._exact:
            return Overlap("exact", self._exact[words], text)
        shared = next((run for run in _runs(words) if run in self._runs), None)
        if shared:
            return Overlap("run", self._runs[shared], text)
        near = self._near.rejects(text)
        return Overlap("rougeL", near.id, text) if near else None


def _runs(words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (words[start : start + RUN] for start in range(len(words) - RUN + 1))
