"""Is our ROUGE-L equal to rouge_score's to the last bit, and how much faster is it?

Texts are real SuperNI references and inputs, shuffled and mixed by word; long answers join many of them; fuzzed ones
mix in Unicode, white space and empty texts. Both scorers see the same pairs in one process, on one core.
"""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rouge_score.rouge_scorer import RougeScorer

from benchmarks.result import SHARED_DATA, report
from pacos.evaluate.metrics import best_rouge_l
from pacos.evaluate.score import score_file
from pacos.files import write_jsonl
from pacos.records import Prediction
from pacos.superni.tasks import Instance, read_test_split

OFFICIAL_INSTANCES = 11_810
LONG_WORDS = 400
AWKWARD = [
    "",
    " ",
    "café",
    "İstanbul",
    "\u212aelvin",
    "ﬁne",
    "日本語",
    "\x00",
    "\u200b",
    "naïve—x",
    "1st",
    "it's",
    "\n\n",
]

Pair = tuple[str, Sequence[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20_000, help="pairs of each kind to compare")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    instances = read_test_split(SHARED_DATA / "superni").instances
    draw = random.Random(0)
    kinds = {
        "real": [real_pair(draw, instances) for _ in range(options.pairs)],
        "fuzzed": [fuzzed_pair(draw, instances) for _ in range(options.pairs)],
        "long": [long_pair(draw, instances) for _ in range(options.pairs // 40)],
    }
    figures: dict[str, Any] = {kind: compared(pairs) for kind, pairs in kinds.items()}
    figures["whole_track"] = whole_track(draw, instances)
    report("scoring", figures, settings={"pairs": options.pairs, "long_words": LONG_WORDS}, save=options.save)


def compared(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Pairs whose value differs, and pairs a second of each scorer; the stemmer's memory starts cold."""
    scorer = RougeScorer(["rougeL"], use_stemmer=True)

    def theirs(text: str, references: Sequence[str]) -> float:
        return 100 * max(scorer.score(reference, text)["rougeL"].fmeasure for reference in references)

    ours, our_seconds = timed(best_rouge_l, pairs)
    expected, their_seconds = timed(theirs, pairs)
    return {
        "pairs": len(pairs),
        "different": sum(one != other for one, other in zip(ours, expected, strict=True)),
        "rouge_score_pairs_per_s": round(len(pairs) / their_seconds),
        "pacos_pairs_per_s": round(len(pairs) / our_seconds),
        "times_faster": round(their_seconds / our_seconds, 1),
    }


def timed(score: Callable[[str, Sequence[str]], float], pairs: Sequence[Pair]) -> tuple[list[float], float]:
    began = time.perf_counter()
    return [score(*pair) for pair in pairs], time.perf_counter() - began


def whole_track(draw: random.Random, instances: Sequence[Instance]) -> dict[str, Any]:
    """Seconds of `pacos score`'s work on as many predictions as the default track has."""
    rows = [prediction(number, draw.choice(instances), draw) for number in range(OFFICIAL_INSTANCES)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "predictions.jsonl"
        write_jsonl(path, rows)
        began = time.perf_counter()
        scores = score_file(path, Path(folder) / "scores.json")
        return {"predictions": scores.n, "seconds": round(time.perf_counter() - began, 2)}


def prediction(number: int, instance: Instance, draw: random.Random) -> Prediction:
    text = mixed(draw, [*instance.references, instance.input])
    return Prediction(
        model="m", suite="s", task=instance.task, instance=str(number), category=instance.category, prompt_sha256="",
        prediction=text, raw=text, references=list(instance.references), rougeL=0.0, exact_match=0.0,
        finish_reason="stop",
    )  # fmt: skip


def real_pair(draw: random.Random, instances: Sequence[Instance]) -> Pair:
    instance = draw.choice(instances)
    return mixed(draw, [*instance.references, instance.input]), instance.references


def fuzzed_pair(draw: random.Random, instances: Sequence[Instance]) -> Pair:
    instance = draw.choice(instances)
    text = " ".join(draw.choices([*AWKWARD, *instance.references[0].split()], k=draw.randrange(12)))
    return text, [mixed(draw, [*AWKWARD, reference]) for reference in instance.references]


def long_pair(draw: random.Random, instances: Sequence[Instance]) -> Pair:
    words = " ".join(instance.input for instance in draw.choices(instances, k=40)).split()[:LONG_WORDS]
    return mixed(draw, [" ".join(words)]), [" ".join(words)]


def mixed(draw: random.Random, texts: Sequence[str]) -> str:
    """Some of the words of some of the texts, mostly in their order."""
    words = [word for text in draw.sample(list(texts), min(2, len(texts))) for word in text.split()]
    kept = [word for word in words if draw.random() < 0.7]
    for _ in range(len(kept) // 8):
        one, other = draw.randrange(len(kept)), draw.randrange(len(kept))
        kept[one], kept[other] = kept[other], kept[one]
    return " ".join(kept)


if __name__ == "__main__":
    main()
