"""The novelty index against rouge_score: the same decisions and scores to the bit, and what each costs.

    python -m benchmarks.novelty [--save] [--candidates 2000] [--pools 10000 52002 200000 1000000]

Agreement: candidates (a half published instructions, a half made from them by cutting, swapping, repeating and by
fuzzed Unicode) against a pool of real instructions at four thresholds. rouge_score's own tokenizer and LCS score the
whole pool, tokens cached, as stanford_alpaca's filter does.

Cost: pools over 52,002 are filled with composed instructions: a word-bigram walk over the real ones (each word drawn
among those that follow the last one somewhere), which keeps the frequencies of words and pairs, plus a new word in
each tenth, since the vocabulary of a growing set goes on growing. Lengths are drawn from the real ones.
"""

import argparse
import gzip
import itertools
import json
import math
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from multiprocessing import Pool as Processes
from typing import Any

from rouge_score import rouge_scorer, tokenizers

from benchmarks.result import SHARED_DATA, report
from pacos.rouge import BATCH, NoveltyIndex

THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
FUZZ = ["é", "ß", "日", "\u212a", "İ", "ﬁ", "\u200d", "_", "-", "’", "\x00", "٣", "\ud800"]

_POOL: list[list[str]] = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=2000)
    parser.add_argument("--agreement-pool", type=int, default=52_002)
    parser.add_argument("--pools", type=int, nargs="+", default=[10_000, 52_002, 200_000, 1_000_000])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=["agreement", "cost"])
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with gzip.open(SHARED_DATA / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
        instructions = [json.loads(row)["instruction"] for row in rows]
    settings = {key: value for key, value in vars(arguments).items() if key not in ("save", "only")}
    if arguments.only != "cost":
        figures = agreement(instructions, arguments.candidates, arguments.agreement_pool, arguments.processes)
        report("novelty_agreement", figures, settings=settings, save=arguments.save)
    if arguments.only != "agreement":
        report("novelty_cost", cost(instructions, arguments.pools), settings=settings, save=arguments.save)


def agreement(instructions: Sequence[str], count: int, pool_size: int, processes: int) -> dict[str, Any]:
    """Decisions, scores and nearest texts that differ; the oracle is rouge_score's `_score_lcs` on cached tokens."""
    draw = random.Random(0)
    pool = draw.sample(instructions, pool_size)
    candidates = [
        near_copy(draw, draw.choice(instructions)) if n % 2 else draw.choice(instructions) for n in range(count)
    ]
    tokenizer = tokenizers.DefaultTokenizer(use_stemmer=False)
    _POOL[:] = [tokenizer.tokenize(text) for text in pool]
    began = time.perf_counter()
    with Processes(processes) as workers:
        expected = workers.map(_nearest, candidates, chunksize=8)
    oracle_seconds = time.perf_counter() - began
    figures: dict[str, Any] = {
        "pairs": count * pool_size,
        "oracle_seconds": round(oracle_seconds, 1),
        "differences": {},
    }
    for threshold in THRESHOLDS:
        index = filled(NoveltyIndex(threshold), pool)
        rejected = differ = 0
        for candidate, (score, position) in zip(candidates, expected, strict=True):
            match = index.rejects(candidate)
            rejected += match is not None
            differ += match != ((str(position), score) if score > threshold else None)
        figures["differences"][str(threshold)] = {"rejected": rejected, "of": count, "differ": differ}
    return figures


def _nearest(candidate: str) -> tuple[float, int]:
    """F of the nearest pool text, and its position; the first of equals."""
    tokens = tokenizers.DefaultTokenizer(use_stemmer=False).tokenize(candidate)
    scores = [float(rouge_scorer._score_lcs(text, tokens).fmeasure) for text in _POOL]
    best = max(scores)
    return best, scores.index(best)


def near_copy(draw: random.Random, text: str) -> str:
    words = text.split()
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(words))
        match draw.randrange(5):
            case 0 if len(words) > 1:
                del words[place]
            case 1:
                words.insert(place, draw.choice(words))
            case 2:
                other = draw.randrange(len(words))
                words[place], words[other] = words[other], words[place]
            case 3:
                words[place] = words[place][:2] + draw.choice(FUZZ) + words[place][2:]
            case _:
                words.insert(place, draw.choice(FUZZ))
    return " ".join(words)


def cost(instructions: Sequence[str], sizes: Sequence[int]) -> dict[str, Any]:
    """Milliseconds of one core per decision, per row of nearest and mean, and to add a text, at each pool size."""
    draw = random.Random(1)
    texts = [*draw.sample(instructions, len(instructions)), *composed(draw, instructions, max(sizes))]
    candidates = draw.sample(instructions, 200)
    fresh = composed(draw, instructions, 200)
    index, by_size = NoveltyIndex(0.7), {}
    for size in sorted(sizes):
        adding = cpu_seconds(lambda size=size: filled(index, texts[len(index) : size], len(index)))  # type: ignore[misc]
        deciding = [cpu_seconds(lambda text=text: index.rejects(text)) for text in [*candidates, *fresh]]  # type: ignore[misc]
        rows = cpu_seconds(lambda: index.neighbours(len(index) - BATCH))
        by_size[str(size)] = {
            "decision_ms": round(1000 * sum(deciding) / len(deciding), 4),
            "decision_p95_ms": round(1000 * sorted(deciding)[int(0.95 * len(deciding))], 4),
            "nearest_and_mean_ms": round(1000 * rows / BATCH, 3),
            "added_since_the_size_before_s": round(adding, 2),
            "resident_mib": resident_mib(),
        }
        if size == len(instructions):
            by_size[str(size)] |= against_rouge_score(texts[:size], candidates[:5], by_size[str(size)]["decision_ms"])
    smallest, largest = min(sizes), max(sizes)
    ratio = by_size[str(largest)]["decision_ms"] / by_size[str(smallest)]["decision_ms"]
    exponent = round(math.log(ratio) / math.log(largest / smallest), 2) if largest > smallest else None
    return {"threshold": 0.7, "pools": by_size, "growth_exponent": exponent}


def against_rouge_score(pool: Sequence[str], candidates: Sequence[str], decision_ms: float) -> dict[str, float]:
    tokenizer = tokenizers.DefaultTokenizer(use_stemmer=False)
    _POOL[:] = [tokenizer.tokenize(text) for text in pool]
    seconds = cpu_seconds(lambda: [_nearest(candidate) for candidate in candidates]) / len(candidates)
    return {"rouge_score_cached_tokens_ms": round(1000 * seconds, 1), "times": round(1000 * seconds / decision_ms)}


def composed(draw: random.Random, instructions: Sequence[str], count: int) -> list[str]:
    follows: dict[str, list[str]] = defaultdict(list)
    for text in instructions:
        words = ["", *text.split()]
        for word, following in itertools.pairwise(words):
            follows[word].append(following)
    lengths = [len(text.split()) for text in instructions]
    texts = []
    for number in range(count):
        words, word = [], ""
        for _ in range(draw.choice(lengths)):
            word = draw.choice(follows[word] or follows[""])
            words.append(word)
        if number % 10 == 0:
            words[draw.randrange(len(words))] = f"name{number}"
        texts.append(" ".join(words))
    return texts


def filled(index: NoveltyIndex, texts: Sequence[str], first: int = 0) -> NoveltyIndex:
    for position, text in enumerate(texts, first):
        index.add(str(position), text)
    return index


def cpu_seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def resident_mib() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss / 2**20)


if __name__ == "__main__":
    main()
