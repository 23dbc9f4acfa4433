"""How long a run of many tasks takes to resume: from reading its journal until it may ask its first new request.

    python -m benchmarks.resume [--save] [--tasks 1000000]

The run directory is what a session leaves: a journal of answers of 20 composed tasks each (`benchmarks/novelty.py`),
`dataset.jsonl`, and the snapshot of the pool. To make it in minutes, all tasks are accepted without looking for their
neighbours, which take no part in resuming. Imports and the engine's start are not counted.
"""

import argparse
import gzip
import itertools
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.alpaca import ROWS
from benchmarks.novelty import composed
from benchmarks.result import report
from pacos.config import FiltersConfig
from pacos.generate.filtering.filters import novelty_tokens
from pacos.generate.pool_snapshot import Earlier, PoolSnapshot
from pacos.generate.stats import Tally
from pacos.novelty.index import NoveltyIndex
from pacos.records import Response, Task

PER_ANSWER = 20

_RESUME = """
import json, resource, sys, time
from pathlib import Path
from pacos.config import FiltersConfig
from pacos.generate.journal import read_responses
from pacos.generate.pool import Pool
from pacos.generate.pool_snapshot import Earlier
folder = Path(sys.argv[1])
wall, cpu = time.perf_counter(), time.process_time()
answers = read_responses(folder / "responses.jsonl")
read = time.perf_counter() - wall
pool = Pool(folder, [], FiltersConfig(), 10**9, remembers=False, earlier=Earlier(answers))
figures = {"seconds": time.perf_counter() - wall, "of_which_journal": read, "cpu_seconds": time.process_time() - cpu}
figures = {key: round(value, 2) for key, value in figures.items()}
figures |= {"answers": len(pool.sizes), "tasks": pool.count}
print(json.dumps(figures | {"peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=1_000_000)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        left_behind(Path(folder), arguments.tasks)
        size = sum(file.stat().st_size for file in (Path(folder) / ".novelty").iterdir())
        answer = subprocess.run(
            [sys.executable, "-c", _RESUME, folder], check=True, capture_output=True, text=True
        ).stdout
    figures = json.loads(answer) | {"snapshot_mib": size >> 20, "load": round(os.getloadavg()[0], 1)}
    report("resume", figures, settings={"tasks": arguments.tasks}, save=arguments.save)


def left_behind(folder: Path, tasks: int) -> None:
    """What a session leaves after so many tasks."""
    with gzip.open(ROWS, "rt", encoding="utf-8") as rows:
        released = [json.loads(row) for row in rows]
    outputs = itertools.cycle(row["output"] for row in released)
    instructions = composed(random.Random(1), [row["instruction"] for row in released])
    filters = FiltersConfig()
    index, tally = NoveltyIndex(filters.novelty, novelty_tokens(filters)), Tally()
    snapshot = PoolSnapshot(folder, filters, [], Earlier({}))
    began = time.perf_counter()
    (folder / "rejected.jsonl").touch()
    with (
        (folder / "responses.jsonl").open("w", encoding="utf-8") as journal,
        (folder / "dataset.jsonl").open("w", encoding="utf-8") as dataset,
    ):
        for request in range(tasks // PER_ANSWER):
            texts = list(itertools.islice(instructions, PER_ANSWER))
            answer = answer_of(request, list(zip(texts, outputs, strict=False)))
            journal.write(json.dumps(answer) + "\n")
            ids = [f"{request:06d}-{item:02d}" for item in range(1, len(texts) + 1)]
            index.extend(ids, texts)
            for id, text, output in zip(ids, texts, outputs, strict=False):
                tally.count_task(Task(text, "", output))
                dataset.write(json.dumps({"instruction": text, "input": "", "output": output, "id": id}) + "\n")
            snapshot.committed(Response(**answer), len(index))
    tally.nearest.extend(itertools.repeat(0.5, len(index)))
    snapshot.save(index, tally)
    print(f"made in {time.perf_counter() - began:.0f} s", flush=True)


def answer_of(request: int, tasks: list[tuple[str, str]]) -> dict[str, Any]:
    items = [f" {text}\n4. Input:\n<noinput>\n4. Output:\n{output}\n" for text, output in tasks]
    return {"request": request, "text": "###\n4. Instruction:".join(items), "finish_reason": "stop"}


if __name__ == "__main__":
    main()
