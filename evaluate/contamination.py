"""Whether text that a model was trained on holds an evaluation set's texts.

Three measures, from plain to strict: the same words; a common run of 13 words (the usual measure for web text,
Brown et al. 2005.14165, appendix C); ROUGE-L of 0.7 or more, the bound that generation itself uses for novelty.
Words are ROUGE's: lower case, no punctuation. Texts of fewer than five words are left out and counted: "Yes" proves
nothing.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.progress import bar
from pacos.records import Task, read_tasks, write_json
from pacos.rouge import NoveltyIndex, rouge_l_tokens, tokenize
from pacos.superni.suites import read_suite
from pacos.superni.tasks import Suite

log = logging.getLogger("pacos")

LEAST_WORDS = 5
RUN = 13
ROUGE_L = 0.7

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Passage:
    """A text and where it stands: the row or instance, and which part of it."""

    owner: str
    part: str
    text: str


@dataclass(frozen=True, slots=True)
class Overlap:
    """A passage that turned up among those of an index; `measure` is exact, run or rougeL."""

    measure: str
    rougeL: float
    passage: Passage
    indexed: Passage


class PassageIndex:
    """Finds texts among others, as those that a model was trained on; of several that overlap the first is named."""

    def __init__(self, passages: Iterable[Passage]) -> None:
        self._passages: dict[str, Passage] = {}
        self._exact: dict[Words, str] = {}
        self._runs: dict[int, str] = {}
        # NoveltyIndex asks for strictly above; a hair below the bound makes it "0.7 or more".
        self._near = NoveltyIndex(ROUGE_L - 1e-9)
        for passage in passages:
            words = tuple(tokenize(passage.text, stemmer=False))
            if len(words) < LEAST_WORDS or words in self._exact:
                continue
            self._exact[words] = passage.text
            self._passages[passage.text] = passage
            for run in _runs(words):
                self._runs.setdefault(hash(run), passage.text)
            self._near.add(passage.text, passage.text)

    def overlap(self, passage: Passage) -> Overlap | None:
        """By the plainest measure that finds one; None for a text too short to tell, too."""
        words = tuple(tokenize(passage.text, stemmer=False))
        if len(words) < LEAST_WORDS:
            return None
        if text := self._exact.get(words):
            return Overlap("exact", 1.0, passage, self._passages[text])
        if text := self._with_run(words):
            score = rouge_l_tokens(words, tokenize(text, stemmer=False))
            return Overlap("run", score, passage, self._passages[text])
        near = self._near.rejects(passage.text)
        return Overlap("rougeL", near.score, passage, self._passages[near.id]) if near else None

    def _with_run(self, words: Words) -> str:
        """Runs are kept as hashes, a tenth of the memory; the text itself has the last word."""
        for run in _runs(words):
            text = self._runs.get(hash(run), "")
            if text and run in set(_runs(tuple(tokenize(text, stemmer=False)))):
                return text
        return ""


def _runs(words: Words) -> Iterator[Words]:
    return (words[start : start + RUN] for start in range(len(words) - RUN + 1))


def training_passages(tasks: Sequence[Task]) -> Iterator[Passage]:
    for number, task in enumerate(tasks, 1):
        yield Passage(f"row {number}", "instruction", task.instruction)
        yield Passage(f"row {number}", "input", task.input)
        yield Passage(f"row {number}", "output", task.output)


def suite_passages(suite: Suite) -> Iterator[Passage]:
    for instance in suite.instances:
        owner = f"{instance.task} {instance.id}"
        yield Passage(instance.task, "definition", instance.definition)
        yield Passage(owner, "input", instance.input)
        for reference in instance.references:
            yield Passage(owner, "reference", reference)


def contamination(training: Iterable[Passage], evaluation: Iterable[Passage]) -> dict[str, Any]:
    """{texts, too_short, overlapping, by_measure, by_part, owners, overlaps: [{measure, rougeL, evaluation, training}]}

    A text that several instances share counts once; `owners` counts what it belongs to (definitions by task).
    """
    index = PassageIndex(training)
    owners: dict[tuple[str, str], set[str]] = {}
    first: dict[tuple[str, str], Passage] = {}
    for passage in evaluation:
        key = passage.part, passage.text
        first.setdefault(key, passage)
        owners.setdefault(key, set()).add(passage.owner)
    found: dict[tuple[str, str], Overlap] = {}
    too_short = 0
    with bar("looking for overlaps", len(first), "texts") as progress:
        for key, passage in first.items():
            too_short += len(tokenize(passage.text, stemmer=False)) < LEAST_WORDS
            if overlap := index.overlap(passage):
                found[key] = overlap
            progress.update()
    return {
        "texts": len(first),
        "too_short": too_short,
        "overlapping": len(found),
        "by_measure": dict(Counter(overlap.measure for overlap in found.values())),
        "by_part": dict(Counter(part for part, _ in found)),
        "owners": len(set().union(*(owners[key] for key in found))),
        "overlaps": [
            {
                "measure": overlap.measure,
                "rougeL": overlap.rougeL,
                "evaluation": asdict(overlap.passage),
                "training": asdict(overlap.indexed),
            }
            for overlap in found.values()
        ],
    }


def check_files(datasets: Sequence[Path], suite: Suite) -> dict[str, Any]:
    """Overlap of Alpaca-format training sets with a suite. Raises DataError as `read_tasks` does."""
    tasks = [task for path in datasets for task in read_tasks(path)]
    found = contamination(training_passages(tasks), suite_passages(suite))
    return {"training": [str(path) for path in datasets], "rows": len(tasks), **found}


def check(dataset: Path, suite: Path, out: Path | None = None) -> dict[str, Any]:
    """`pacos contamination`. Raises DataError as `read_tasks` and `read_suite` do."""
    found = check_files([dataset], read_suite(suite))
    if out:
        write_json(out, found)
    return found


def table(found: Mapping[str, Any], listed: int = 10) -> str:
    """For the terminal: the counts, and the first overlaps."""
    lines = [headline(found)]
    for overlap in found["overlaps"][:listed]:
        ours, theirs = overlap["evaluation"], overlap["training"]
        lines.append(f"{ours['owner']}, {ours['part']} ({overlap['measure']}, ROUGE-L {overlap['rougeL']:.2f})")
        lines += [f"    {_short(ours['text'])}", f"    {theirs['owner']}, {theirs['part']}: {_short(theirs['text'])}"]
    if len(found["overlaps"]) > listed:
        lines.append(f"… and {len(found['overlaps']) - listed:,} more; --json lists them all")
    return "\n".join(lines)


def headline(found: Mapping[str, Any]) -> str:
    """What was copied stands apart from what is merely alike: short texts are that by chance."""
    exact, run, alike = (found["by_measure"].get(measure, 0) for measure in ("exact", "run", "rougeL"))
    return (
        f"{exact + run:,} of {found['texts']:,} evaluation texts stand in {found['rows']:,} training rows "
        f"({exact:,} the same, {run:,} by a run of {RUN} words); {alike:,} more are similar "
        f"(ROUGE-L of {ROUGE_L} or more); {found['too_short']:,} are too short to tell"
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:97]}…"
