"""`pacos analyze`: the Self-Instruct paper's figures for any Alpaca-format dataset, as `analysis.json`.

Lengths, similarity to the nearest seed, novelty over time, distinct-n, verbs and nouns, defects, and the yield funnel
if the dataset's `stats.json` is next to it.
"""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

from pacos.errors import DataError
from pacos.generate.filtering.defects import DEFECTS, SUSPICIONS, repeated_long_outputs
from pacos.generate.stats import mean_or_zero, score_histogram, word_counts
from pacos.generate.verbs import VerbNoun, verb_noun_extractor
from pacos.novelty.index import NoveltyIndex
from pacos.novelty.neighbours import BATCH, WHOLE
from pacos.progress import bar
from pacos.records import Task, read_tasks
from pacos.results import plain, read_result, write_result
from pacos.results.dataset import (
    Analysis,
    DatasetStats,
    Funnel,
    LengthHistogram,
    NoveltyOverTime,
    NoveltyStretch,
    PublishedDataset,
    SeedFile,
    SimilarityHistogram,
    VerbsAndNouns,
)
from pacos.seeds import load_seeds, seeds_path
from pacos.words import TOKENIZERS, auto_tokens, tokenization, word_count

log = logging.getLogger("pacos")

Words = Callable[[str], list[str]]

TOP_VERBS = 20
NOUNS_PER_VERB = 4
STRETCHES = 20

# Width and number of a histogram's bins; the last one has all longer texts too.
LENGTH_BINS = {"instruction": (2, 25), "input": (5, 30), "output": (10, 30)}

# Self-Instruct: 2212.10560, Table 1, sections 3.3 and 3.4. Alpaca: the released 52,002 rows, measured with this code's
# definitions, but not by this code.
PUBLISHED_DATASETS = {
    "Self-Instruct": PublishedDataset(
        tasks=52_445, instruction_words=15.9, input_words=12.7, output_words=18.9,
        verb_noun_share=0.506, top_pairs_share=0.14,
        distinct_1=None, distinct_2=None, distinct_3=None, nearest_seed=None, nearest_earlier=None,
    ),
    "Alpaca": PublishedDataset(
        tasks=52_002, instruction_words=10.1, input_words=9.9, output_words=44.2,
        verb_noun_share=None, top_pairs_share=None,
        distinct_1=0.026, distinct_2=0.219, distinct_3=0.492, nearest_seed=0.341, nearest_earlier=0.576,
    ),
}  # fmt: skip


def analyze(dataset: Path, out: Path, seeds: Path | None, tokenizer: str = "auto") -> Analysis:
    """Write `analysis.json` into `out` and return it. `seeds` are pacos's own unless given.

    `tokenizer`, a name of pacos.words.TOKENIZERS, gives the words of similarity and distinct-n; lengths are in words
    between spaces, in `unicode` words where the tokenizer chooses these. Raises DataError for a dataset or seed file
    that cannot be parsed.
    """
    tasks = read_tasks(dataset)
    seed_file = seeds_path(str(seeds) if seeds else None)
    seed_texts = [seed.task.instruction for seed in load_seeds(seed_file)]
    instructions = [task.instruction for task in tasks]
    words = TOKENIZERS[tokenizer]
    analysis = Analysis(
        dataset=str(dataset),
        tasks=len(tasks),
        seeds=SeedFile(seed_file.name, len(seed_texts)),
        lengths={part: _lengths(tasks, part, tokenizer) for part in LENGTH_BINS},
        distinct={str(n): round(distinct(instructions, n, words), 4) for n in (1, 2, 3)},
        verbs=_verbs(instructions, seed_texts),
        nearest_seed=_nearest_seed(instructions, seed_texts, words),
        novelty=_novelty(instructions, words),
        defects={rule.reason: sum(rule.check(task) is not None for task in tasks) for rule in DEFECTS},
        suspicions={
            **{suspicion.__name__: sum(map(suspicion, tasks)) for suspicion in SUSPICIONS},
            "repeated_long_output": repeated_long_outputs(tasks),
        },
        funnel=_funnel_of(dataset),
        published=PUBLISHED_DATASETS,
        tokenization=tokenization(instructions, tokenizer),
    )
    write_result(out / "analysis.json", analysis)
    return analysis


def distinct(texts: Sequence[str], n: int, words: Words = auto_tokens) -> float:
    """Different n-grams per n-gram over all texts (Li et al. 2016)."""
    grams = [gram for text in texts for gram in _grams(words(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


def _lengths(tasks: Sequence[Task], part: str, tokenizer: str) -> LengthHistogram:
    """Lengths in words of one part of the tasks; inputs only where there is one."""
    lengths = [word_count(getattr(task, part), tokenizer) for task in tasks]
    if part == "input":
        lengths = [length for length in lengths if length]
    width, bins = LENGTH_BINS[part]
    counts = [0] * bins
    for length in lengths:
        counts[min(length // width, bins - 1)] += 1
    return LengthHistogram(**plain(word_counts(lengths)), count=len(lengths), bin_width=width, histogram=counts)


def _verbs(instructions: Sequence[str], seeds: Sequence[str]) -> VerbsAndNouns:
    name, extract = verb_noun_extractor()
    pairs = [pair for pair in extract(instructions) if pair]
    top = top_pairs(pairs)
    shown = sum(count for nouns in top.values() for count in nouns.values())
    return VerbsAndNouns(
        extractor=name,
        share=round(len(pairs) / len(instructions), 4),
        share_of_seeds=round(sum(pair is not None for pair in extract(seeds)) / len(seeds), 4),
        different_pairs=len(set(pairs)),
        top_share=round(shown / len(instructions), 4),
        top=top,
    )


def top_pairs(pairs: Sequence[VerbNoun]) -> dict[str, dict[str, int]]:
    """The most frequent verbs, each with its most frequent nouns; ties in alphabetical order."""
    by_verb: dict[str, Counter[str]] = {}
    for verb, noun in sorted(pairs):
        by_verb.setdefault(verb, Counter())[noun] += 1
    verbs = sorted(by_verb, key=lambda verb: -by_verb[verb].total())[:TOP_VERBS]
    return {verb: dict(by_verb[verb].most_common(NOUNS_PER_VERB)) for verb in verbs}


def _nearest_seed(instructions: Sequence[str], seeds: Sequence[str], words: Words) -> SimilarityHistogram:
    index = NoveltyIndex(0.0, words)
    index.extend([str(position) for position in range(len(seeds))], seeds)
    scores = [match.score if match else 0.0 for match in index.matches(instructions)]
    return SimilarityHistogram(round(mean_or_zero(scores), 4), score_histogram(scores))


def _novelty(instructions: Sequence[str], words: Words) -> NoveltyOverTime:
    """ROUGE-L to the nearest earlier task of the dataset."""
    index = NoveltyIndex(1.0, words)
    index.extend([str(position) for position in range(len(instructions))], instructions)
    scores: list[float] = []
    with bar("analyze", len(instructions), "tasks") as progress:
        for start in range(0, len(instructions), BATCH):
            scores += [found.nearest for found in index.neighbours(start, min(start + BATCH, len(instructions)))]
            progress.update(len(scores) - progress.n)
    if len(instructions) > WHOLE:
        log.info("novelty of tasks after the first %d is over samples of those before them", WHOLE)
    edges = [len(scores) * stretch // STRETCHES for stretch in range(STRETCHES + 1)]
    stretches = [(end, scores[start:end]) for start, end in pairwise(edges) if end > start]
    return NoveltyOverTime(
        round(mean_or_zero(scores), 4),
        score_histogram(scores),
        [NoveltyStretch(end, round(mean_or_zero(part), 4)) for end, part in stretches],
    )


def _funnel_of(dataset: Path) -> Funnel:
    """The yield funnel in the `stats.json` next to the dataset; all zero without one of pacos's."""
    path = (dataset if dataset.is_dir() else dataset.parent) / "stats.json"
    if not path.is_file():
        return Funnel()
    try:
        return read_result(path, DatasetStats, todo="generate again").funnel
    except DataError as other:
        log.warning("passed over, as it is not of pacos: %s", other)
        return Funnel()
