"""Whether a model's training data contains an evaluation set's texts.

Three measures, tried in this order: the same words; a common run of 13 words (the usual measure for web text,
Brown et al. 2005.14165, appendix C); ROUGE-L of 0.7 or more, the bound that generation itself uses for novelty.
Words are ROUGE's: lower case, no punctuation; in texts of which ROUGE's tokenizer misses most, words of any script, or
characters where a script has no spaces (pacos.words). Texts of fewer than five words are left out and counted: "Yes" is
in every training set.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pacos.novelty.index import NoveltyIndex
from pacos.progress import bar
from pacos.records import Task, read_tasks
from pacos.results import write_result
from pacos.results.evaluation import Contamination, Overlap, Passage
from pacos.rouge import rouge_l_tokens
from pacos.seeds import seed_instances
from pacos.superni.suites import read_suite
from pacos.superni.tasks import Suite
from pacos.words import TOKENIZERS, auto_tokens, tokenization

LEAST_WORDS = 5
RUN_WORDS = 13
SIMILAR = 0.7

Words = tuple[str, ...]


class PassageIndex:
    """Training texts, searched for overlaps with evaluation texts; of several that overlap the first is returned."""

    def __init__(self, passages: Iterable[Passage], tokens: Callable[[str], list[str]] = auto_tokens) -> None:
        self._tokens = tokens
        self._passages: dict[str, Passage] = {}
        self._exact: dict[Words, str] = {}
        self._runs: dict[int, str] = {}
        # NoveltyIndex rejects what is strictly above its bound; just below 0.7 makes it "0.7 or more".
        self._near = NoveltyIndex(SIMILAR - 1e-9, tokens)
        for passage in passages:
            words = self.words(passage.text)
            if len(words) < LEAST_WORDS or words in self._exact:
                continue
            self._exact[words] = passage.text
            self._passages[passage.text] = passage
            for run in _runs(words):
                self._runs.setdefault(hash(run), passage.text)
        texts = list(self._passages)
        self._near.extend(texts, texts)

    def words(self, text: str) -> Words:
        """The words of a text, as texts are compared by them."""
        return tuple(self._tokens(text))

    def overlap(self, passage: Passage) -> Overlap | None:
        """The overlap by the first measure that finds one; None without any, and for a text that is too short."""
        words = self.words(passage.text)
        if len(words) < LEAST_WORDS:
            return None
        if text := self._exact.get(words):
            return Overlap("exact", 1.0, passage, self._passages[text])
        if text := self._with_run(words):
            score = rouge_l_tokens(words, self.words(text))
            return Overlap("run", score, passage, self._passages[text])
        near = self._near.rejects(passage.text)
        return Overlap("rougeL", near.score, passage, self._passages[near.id]) if near else None

    def _with_run(self, words: Words) -> str:
        """The indexed text with a common run, or "". Runs are kept as hashes, in a tenth of the memory, so a match is
        checked against the text itself."""
        for run in _runs(words):
            text = self._runs.get(hash(run), "")
            if text and run in set(_runs(self.words(text))):
                return text
        return ""


def _runs(words: Words) -> Iterator[Words]:
    return (words[start : start + RUN_WORDS] for start in range(len(words) - RUN_WORDS + 1))


def training_passages(tasks: Sequence[Task]) -> Iterator[Passage]:
    """The texts of training tasks."""
    for number, task in enumerate(tasks, 1):
        yield Passage(f"row {number}", "instruction", task.instruction)
        yield Passage(f"row {number}", "input", task.input)
        yield Passage(f"row {number}", "output", task.output)


def suite_passages(suite: Suite) -> Iterator[Passage]:
    """The texts of an evaluation set; an absent input is none."""
    for instance in suite.instances:
        owner = f"{instance.task} {instance.id}"
        yield Passage(instance.task, "definition", instance.definition)
        if instance.input.strip():
            yield Passage(owner, "input", instance.input)
        for reference in instance.references:
            yield Passage(owner, "reference", reference)


def find_overlaps(training: Iterable[Passage], evaluation: Iterable[Passage], tokenizer: str = "auto") -> Contamination:
    """The evaluation texts that overlap with training texts; each text is looked up once, whatever its owners.

    `tokenizer` is a name of pacos.words.TOKENIZERS.
    """
    index = PassageIndex(training, TOKENIZERS[tokenizer])
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
            too_short += len(index.words(passage.text)) < LEAST_WORDS
            if overlap := index.overlap(passage):
                found[key] = overlap
            progress.update()
    return Contamination(
        texts=len(first),
        too_short=too_short,
        overlapping=len(found),
        by_measure=dict(Counter(overlap.measure for overlap in found.values())),
        by_part=dict(Counter(part for part, _ in found)),
        owners=len(set().union(*(owners[key] for key in found))),
        overlaps=list(found.values()),
        tokenization=tokenization((text for _, text in first), tokenizer),
    )


def check_files(
    datasets: Sequence[Path], suite: Suite, tokenizer: str = "auto", *, seeds: Path | None = None
) -> Contamination:
    """Overlap of Alpaca-format training sets, and of `seeds` that are trained on as well, with a suite.

    Raises DataError as `read_tasks` and `seed_instances` do.
    """
    tasks = [task for path in datasets for task in read_tasks(path)]
    tasks += [task for _, task in seed_instances(seeds)] if seeds else []
    found = find_overlaps(training_passages(tasks), suite_passages(suite), tokenizer)
    return replace(found, training=[str(path) for path in (*datasets, *filter(None, [seeds]))], rows=len(tasks))


def check_dataset(dataset: Path, suite: Path, out: Path | None = None, tokenizer: str = "auto") -> Contamination:
    """`pacos contamination`: check one training set, and write the result to `out`.

    Raises DataError as `read_tasks` and `read_suite` do.
    """
    found = check_files([dataset], read_suite(suite), tokenizer)
    if out:
        write_result(out, found)
    return found


def contamination_table(found: Contamination, listed: int = 10) -> str:
    """For the terminal: the counts, and the first overlaps."""
    lines = [headline(found)]
    for overlap in found.overlaps[:listed]:
        ours, theirs = overlap.evaluation, overlap.training
        lines.append(f"{ours.owner}, {ours.part} ({overlap.measure}, ROUGE-L {overlap.rougeL:.2f})")
        lines += [f"    {_short(ours.text)}", f"    {theirs.owner}, {theirs.part}: {_short(theirs.text)}"]
    if len(found.overlaps) > listed:
        lines.append(f"… and {len(found.overlaps) - listed:,} more; --json lists them all")
    return "\n".join(lines)


def headline(found: Contamination) -> str:
    """The counts in one line. Copied texts are counted apart from similar ones: short texts are similar by chance."""
    said = str(found.tokenization)
    return (
        f"{found.exact + found.with_run:,} of {found.texts:,} evaluation texts occur in {found.rows:,} training rows "
        f"({found.exact:,} the same, {found.with_run:,} by a run of {RUN_WORDS} words); {found.similar:,} more are "
        f"similar (ROUGE-L of {SIMILAR} or more); {found.too_short:,} are too short to be checked"
        f"{said and f'; {said}'}"
    )


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 100 else f"{line[:97]}…"
