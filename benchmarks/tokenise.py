"""From the 52,002 Alpaca rows to packed steps: how long before training can start?

The same calls as `pacos train`: read, render and tokenise, check every row, hash, and pack the steps of one epoch
and of three. Threads are those of the machine.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.alpaca import experiment, write_rows, write_tokenizer
from benchmarks.result import report
from pacos.config import parse_config
from pacos.models import load_tokenizer
from pacos.train.data.tokenized import load_dataset
from pacos.train.packing.plan import plan_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, help="the first so many; all unless given")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true"  # as `pacos train` sets it
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.rows)
    report("tokenise", figures, settings={"rows": options.rows or "all"}, save=options.save)


def measure(folder: Path, count: int | None) -> dict[str, Any]:
    write_tokenizer(folder)
    rows = write_rows(folder / "rows.jsonl", count)
    config = parse_config(experiment(folder, folder, rows, "tokenise", epochs=1), where="benchmark")
    tokenizer = load_tokenizer(str(folder), config.model)
    clock = Clock()
    dataset = load_dataset(config, tokenizer, keep=True)
    tokenised = clock.lap()
    plan = plan_run(dataset.examples, config.train, config.seed)
    packed = clock.lap()
    load_dataset(config, tokenizer)
    again = clock.lap()
    plan_run(dataset.examples, config.train.model_copy(update={"epochs": 3.0}), config.seed)
    return {
        "examples": len(dataset.examples),
        "tokens": dataset.tokens,
        "steps": len(plan.steps),
        "fill": round(plan.fill, 4),
        "shared": round(plan.saved, 4),
        "tokenised": tokenised,
        "packed": packed,
        "both_seconds": round(tokenised["seconds"] + packed["seconds"], 2),
        "read_from_cache": again,
        "packed_three_epochs": clock.lap(),
    }


class Clock:
    """Seconds by the wall and by the processors since it was last asked."""

    def __init__(self) -> None:
        self.then = time.perf_counter(), time.process_time()

    def lap(self) -> dict[str, float]:
        now = time.perf_counter(), time.process_time()
        wall, cpu = (round(new - old, 2) for new, old in zip(now, self.then, strict=True))
        self.then = now
        return {"seconds": wall, "cpu_seconds": cpu}


if __name__ == "__main__":
    main()
