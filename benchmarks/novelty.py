"""The novelty index against rouge_score: the same decisions and scores to the bit, and what each costs.

    python -m benchmarks.novelty [--save] [--candidates 2000] [--pools 52002 250000 1000000 4000000]

Agreement: candidates against a pool of real instructions at four thresholds. Half are published instructions that the
pool lacks, half are made from the pool's by cutting, swapping, repeating and by fuzzed Unicode. The oracle is
rouge_score's own tokenizer and LCS on cached tokens, as in stanford_alpaca's filter. For one candidate in a hundred it
scores every text of the pool; for the others it skips those that have too few tokens in common to come near the best,
by a count that is independent of the index.

Cost: pools over 52,002 are filled with composed instructions: a word-bigram walk over the real ones (each word drawn
among those that follow the last one somewhere), which keeps the frequencies of words and pairs, plus a new word in
each tenth, since the vocabulary of a growing set keeps growing. Lengths are drawn from the real ones. Decisions are
those of `matches` on groups of 256, as `pacos filter` and `pacos curate` ask for them; what one at a time costs is
given too. Memory a row is what the process grows by while the index is filled from a generator.
"""

import argparse
import ctypes
import gzip
import itertools
import json
import math
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import Pool as Processes
from typing import Any

from rouge_score import rouge_scorer, tokenizers

from benchmarks.alpaca import ROWS
from benchmarks.result import report
from pacos.novelty.index import GROUP, NoveltyIndex
from pacos.novelty.neighbours import BATCH

THRESHOLDS = (0.5, 0.6, 0.7, 0.8)
FUZZ = ["é", "ß", "日", "\u212a", "İ", "ﬁ", "\u200d", "_", "-", "’", "\x00", "٣", "\ud800"]

WHOLE_EVERY = 100

_POOL: list[list[str]] = []
_COUNTS: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)  # of each token: pool positions, times it occurs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=int, default=2000)
    parser.add_argument("--agreement-pool", type=int, default=52_002)
    parser.add_argument("--pools", type=int, nargs="+", default=[52_002, 250_000, 1_000_000, 4_000_000])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", choices=["agreement", "cost"])
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with gzip.open(ROWS, "rt", encoding="utf-8") as rows:
        instructions = [json.loads(row)["instruction"] for row in rows]
    settings = {key: value for key, value in vars(arguments).items() if key not in ("save", "only")}
    if arguments.only != "cost":
        figures = agreement(instructions, arguments.candidates, arguments.agreement_pool, arguments.processes)
        report("novelty_agreement", figures, settings=settings, save=arguments.save)
    if arguments.only != "agreement":
        report("novelty_cost", cost(instructions, arguments.pools), settings=settings, save=arguments.save)


def agreement(instructions: Sequence[str], count: int, pool_size: int, processes: int) -> dict[str, Any]:
    """Decisions, scores and nearest texts that differ from the oracle's."""
    draw = random.Random(0)
    drawn = draw.sample(instructions, min(pool_size, len(instructions)))
    candidates, pool = drawn[: count // 2], drawn[count // 2 :]
    candidates += [near_copy(draw, draw.choice(pool)) for _ in range(count - len(candidates))]
    draw.shuffle(candidates)
    began = time.perf_counter()
    with Processes(processes, initializer=_cache_pool, initargs=(pool,)) as workers:
        expected = workers.map(_nearest, candidates, chunksize=8)
        whole = workers.map(_nearest_of_all, candidates[::WHOLE_EVERY], chunksize=1)
    figures: dict[str, Any] = {
        "pool": len(pool),
        "oracle_seconds": round(time.perf_counter() - began, 1),
        "oracle_on_every_pair": {
            "candidates": len(whole),
            "differ": sum(a != b for a, b in zip(whole, expected[::WHOLE_EVERY], strict=True)),
        },
        "thresholds": {},
    }
    for threshold in THRESHOLDS:
        index = filled(NoveltyIndex(threshold), pool)
        matches = index.matches(candidates)
        wanted = [(f"row-{position:06d}", score) if score > threshold else None for score, position in expected]
        figures["thresholds"][str(threshold)] = {
            "rejected": sum(match is not None for match in matches),
            "of": count,
            "differ": sum(match != want for match, want in zip(matches, wanted, strict=True)),
        }
    return figures


def _cache_pool(texts: Sequence[str]) -> None:
    tokenizer = tokenizers.DefaultTokenizer(use_stemmer=False)
    _POOL[:] = [tokenizer.tokenize(text) for text in texts]
    _COUNTS.clear()
    for position, tokens in enumerate(_POOL):
        for token, times in Counter(tokens).items():
            _COUNTS[token].append((position, times))


def _nearest(candidate: str) -> tuple[float, int]:
    """F of the nearest pool text, and its position; the first of equals.

    Two texts have no longer common subsequence than they have tokens in common, which bounds F.
    """
    tokens = tokenizers.DefaultTokenizer(use_stemmer=False).tokenize(candidate)
    common: Counter[int] = Counter()
    for token, times in Counter(tokens).items():
        for position, there in _COUNTS[token]:
            common[position] += min(times, there)
    bounds = {position: 2 * count / (len(tokens) + len(_POOL[position])) for position, count in common.items()}
    best, at = 0.0, 0
    for position in sorted(bounds, key=bounds.__getitem__, reverse=True):
        if bounds[position] < best - 1e-9:
            break
        score = float(rouge_scorer._score_lcs(_POOL[position], tokens).fmeasure)
        if (score, -position) > (best, -at):
            best, at = score, position
    return best, at


def _nearest_of_all(candidate: str) -> tuple[float, int]:
    """The same, from the score of every text of the pool."""
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
    published = draw.sample(instructions, len(instructions))
    candidates = draw.sample(instructions, 1024)
    fresh = list(itertools.islice(composed(draw, instructions), 1024))
    growing = itertools.chain(published, composed(draw, instructions))
    index, by_size = NoveltyIndex(0.7), {}
    index.matches(fresh[:GROUP])
    before = resident_bytes()
    for size in sorted(sizes):
        adding = 0.0
        while len(index) < size:
            texts = list(itertools.islice(growing, min(16_384, size - len(index))))
            adding += cpu_seconds(lambda texts=texts: filled(index, texts, len(index)))  # type: ignore[misc]
        asked = [*candidates, *fresh]
        index.matches(asked)
        deciding = min(cpu_seconds(lambda asked=asked: index.matches(asked)) for _ in range(3))  # type: ignore[misc]
        single = cpu_seconds(lambda: [index.rejects(text) for text in fresh[:100]])
        rows = cpu_seconds(lambda: index.neighbours(len(index) - BATCH))
        by_size[str(size)] = {
            "decision_ms": round(1000 * deciding / len(asked), 4),
            "decision_one_at_a_time_ms": round(10 * single, 4),
            "nearest_and_mean_ms": round(1000 * rows / BATCH, 3),
            "added_since_the_size_before_s": round(adding, 2),
            "bytes_a_row": round((resident_bytes() - before) / size, 1),
            "load": round(os.getloadavg()[0], 1),
        }
        print(size, by_size[str(size)], flush=True)
        if size == len(instructions):
            by_size[str(size)] |= against_rouge_score(published, candidates[:5], by_size[str(size)]["decision_ms"])
            before = resident_bytes() - round(by_size[str(size)]["bytes_a_row"] * size)
    growth = {
        f"{few} to {many}": round(
            math.log(by_size[str(many)]["decision_ms"] / by_size[str(few)]["decision_ms"]) / math.log(many / few), 2
        )
        for few, many in itertools.pairwise(sorted(sizes))
    }
    return {"threshold": 0.7, "pools": by_size, "growth_exponents": growth}


def against_rouge_score(pool: Sequence[str], candidates: Sequence[str], decision_ms: float) -> dict[str, float]:
    _cache_pool(pool)
    seconds = cpu_seconds(lambda: [_nearest_of_all(candidate) for candidate in candidates]) / len(candidates)
    return {"rouge_score_cached_tokens_ms": round(1000 * seconds, 1), "times": round(1000 * seconds / decision_ms)}


def composed(draw: random.Random, instructions: Sequence[str]) -> Iterator[str]:
    """Instructions without end."""
    follows: dict[str, list[str]] = defaultdict(list)
    for text in instructions:
        words = ["", *text.split()]
        for word, following in itertools.pairwise(words):
            follows[word].append(following)
    return _walks(draw, follows, [len(text.split()) for text in instructions])


def _walks(draw: random.Random, follows: dict[str, list[str]], lengths: Sequence[int]) -> Iterator[str]:
    for number in itertools.count():
        words, word = [], ""
        for _ in range(draw.choice(lengths)):
            word = draw.choice(follows[word] or follows[""])
            words.append(word)
        if number % 10 == 0:
            words[draw.randrange(len(words))] = f"name{number}"
        yield " ".join(words)


def filled(index: NoveltyIndex, texts: Sequence[str], first: int = 0) -> NoveltyIndex:
    index.extend([f"row-{number:06d}" for number in range(first, first + len(texts))], texts)
    return index


def cpu_seconds(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def resident_bytes() -> int:
    import psutil

    ctypes.CDLL(None).malloc_trim(0)  # what is freed, but kept by the allocator, is no row's
    return int(psutil.Process().memory_info().rss)


if __name__ == "__main__":
    main()
