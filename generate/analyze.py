"""`pacos analyze`: the figures of the Self-Instruct paper on any Alpaca-format dataset, as `analysis.json`.

Lengths, similarity to the nearest seed, novelty over time, distinct-n, verbs and nouns, defects, and the yield funnel
where the dataset's `stats.json` lies beside it.
"""

import json
import logging
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from pacos.generate.filtering.defects import DEFECTS, SUSPICIONS, repeated_long_outputs
from pacos.generate.seeds import load_seeds, seeds_path
from pacos.generate.stats import histogram, mean, words
from pacos.generate.verbs import Pair, verb_noun_extractor
from pacos.progress import bar
from pacos.records import Task, read_tasks, write_json
from pacos.rouge import BATCH, NoveltyIndex, rouge_tokens

log = logging.getLogger("pacos")

TOP_VERBS = 20
NOUNS_PER_VERB = 4
STRETCHES = 20

# Width of a histogram's bins and their number; the last one holds all that is longer.
LENGTH_BINS = {"instruction": (2, 25), "input": (5, 30), "output": (10, 30)}

# Self-Instruct: 2212.10560, Table 1, sections 3.3 and 3.4. Alpaca: the released 52,002 rows, measured with this code's
# definitions but not by it. None: not published, or not comparable.
PUBLISHED = {
    "Self-Instruct": {
        "tasks": 52_445, "instruction_words": 15.9, "input_words": 12.7, "output_words": 18.9,
        "verb_noun_share": 0.506, "top_pairs_share": 0.14,
        "distinct_1": None, "distinct_2": None, "distinct_3": None, "nearest_seed": None, "nearest_earlier": None,
    },
    "Alpaca": {
        "tasks": 52_002, "instruction_words": 10.1, "input_words": 9.9, "output_words": 44.2,
        "verb_noun_share": None, "top_pairs_share": None,
        "distinct_1": 0.026, "distinct_2": 0.219, "distinct_3": 0.492, "nearest_seed": 0.341, "nearest_earlier": 0.576,
    },
}  # fmt: skip


def analyze(dataset: Path, out: Path, seeds: Path | None) -> dict[str, Any]:
    """Write `analysis.json` into `out` and return it; `seeds` are pacos's own unless given."""
    tasks = read_tasks(dataset)
    seed_file = seeds_path(str(seeds) if seeds else None)
    seed_texts = [seed.task.instruction for seed in load_seeds(seed_file)]
    instructions = [task.instruction for task in tasks]
    stats = _stats_beside(dataset)
    analysis = {
        "dataset": str(dataset),
        "tasks": len(tasks),
        "seeds": {"file": seed_file.name, "tasks": len(seed_texts)},
        "lengths": {part: _lengths(tasks, part) for part in LENGTH_BINS},
        "distinct": {str(n): round(distinct(instructions, n), 4) for n in (1, 2, 3)},
        "verbs": _verbs(instructions, seed_texts),
        "nearest_seed": _nearest_seed(instructions, seed_texts),
        "novelty": _novelty(instructions),
        "defects": {str(reason): sum(rule(task) is not None for task in tasks) for reason, rule in DEFECTS},
        "suspicions": {
            **{rule.__name__: sum(map(rule, tasks)) for rule in SUSPICIONS},
            "repeated_long_output": repeated_long_outputs(tasks),
        },
        "funnel": stats.get("funnel", {}),
        "published": PUBLISHED,
    }
    write_json(out / "analysis.json", analysis)
    return analysis


def distinct(texts: Sequence[str], n: int) -> float:
    """Different n-grams per n-gram over all texts (Li et al. 2016), on rouge_score's tokens."""
    grams = [gram for text in texts for gram in _grams(rouge_tokens(text), n)]
    return len(set(grams)) / len(grams) if grams else 0.0


def _grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return list(zip(*(tokens[start:] for start in range(n)), strict=False))


def _lengths(tasks: Sequence[Task], part: str) -> dict[str, Any]:
    """In words; inputs count where there is one."""
    lengths = [len(getattr(task, part).split()) for task in tasks]
    if part == "input":
        lengths = [length for length in lengths if length]
    width, bins = LENGTH_BINS[part]
    counts = [0] * bins
    for length in lengths:
        counts[min(length // width, bins - 1)] += 1
    return {**words(lengths), "count": len(lengths), "bin_width": width, "histogram": counts}


def _verbs(instructions: Sequence[str], seeds: Sequence[str]) -> dict[str, Any]:
    name, extract = verb_noun_extractor()
    pairs = [pair for pair in extract(instructions) if pair]
    top = top_pairs(pairs)
    shown = sum(count for nouns in top.values() for count in nouns.values())
    return {
        "extractor": name,
        "share": round(len(pairs) / len(instructions), 4),
        "share_of_seeds": round(sum(pair is not None for pair in extract(seeds)) / len(seeds), 4),
        "different_pairs": len(set(pairs)),
        "top_share": round(shown / len(instructions), 4),
        "top": top,
    }


def top_pairs(pairs: Sequence[Pair]) -> dict[str, dict[str, int]]:
    """The most frequent verbs, each with its most frequent nouns; ties in the order of the alphabet."""
    by_verb: dict[str, Counter[str]] = {}
    for verb, noun in sorted(pairs):
        by_verb.setdefault(verb, Counter())[noun] += 1
    verbs = sorted(by_verb, key=lambda verb: -by_verb[verb].total())[:TOP_VERBS]
    return {verb: dict(by_verb[verb].most_common(NOUNS_PER_VERB)) for verb in verbs}


def _nearest_seed(instructions: Sequence[str], seeds: Sequence[str]) -> dict[str, Any]:
    index = NoveltyIndex(0.0)
    for position, text in enumerate(seeds):
        index.add(str(position), text)
    scores = [match.score if (match := index.rejects(text)) else 0.0 for text in instructions]
    return {"mean": round(mean(scores), 4), "histogram": histogram(scores)}


def _novelty(instructions: Sequence[str]) -> dict[str, Any]:
    """ROUGE-L to the nearest earlier task of the dataset, over all and by stretches in the order of the tasks."""
    index = NoveltyIndex(1.0)
    scores: list[float] = []
    with bar("analyze", len(instructions), "tasks") as progress:
        for position, text in enumerate(instructions, 1):
            index.add(str(position), text)
            if position % BATCH == 0 or position == len(instructions):
                scores += [found.nearest for found in index.neighbours(len(scores))]
                progress.update(len(scores) - progress.n)
    edges = [len(scores) * stretch // STRETCHES for stretch in range(STRETCHES + 1)]
    stretches = [(end, scores[start:end]) for start, end in pairwise(edges) if end > start]
    return {
        "mean": round(mean(scores), 4),
        "histogram": histogram(scores),
        "over_time": [{"tasks": end, "mean": round(mean(part), 4)} for end, part in stretches],
    }


def _stats_beside(dataset: Path) -> dict[str, Any]:
    path = (dataset if dataset.is_dir() else dataset.parent) / "stats.json"
    stats: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return stats
