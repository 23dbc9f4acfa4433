"""`pacos filter` on the 52,002 released Alpaca rows with the official seeds: it keeps its own output; and on more rows.

    python -m benchmarks.filter [--save] [--rows 52002] [--defects] [--workers 1 2 [--rounds 3]] [--ray-nodes 2]

Rows over 52,002 have composed instructions (see `benchmarks/novelty.py`) and the outputs of released rows. With several
numbers of workers, or a Ray cluster of so many nodes in this machine, the files of each run must be those of the first,
and `times` is how much less wall-clock time it takes; with several rounds, of all runs by turns, the median of theirs.
"""

import argparse
import gzip
import hashlib
import itertools
import json
import os
import random
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.alpaca import ROWS
from benchmarks.measured_command import run_measured
from benchmarks.novelty import composed
from benchmarks.result import SHARED_DATA, report
from pacos.machine import version_of
from tests.support.ray_cluster import ray_cluster

FILES = ("dataset.jsonl", "rejected.jsonl", "stats.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=52_002)
    parser.add_argument("--defects", action="store_true")
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ray-nodes", type=int, default=0, help="of one CPU each; 0: no Ray")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    rules = ["--defects"] * arguments.defects
    with tempfile.TemporaryDirectory() as folder:
        tasks = Path(folder) / "alpaca.jsonl"
        with tasks.open("w", encoding="utf-8") as lines:
            lines.writelines(itertools.islice(rows(), arguments.rows))
        rounds = [one_round(tasks, arguments, rules) for _ in range(arguments.rounds)]
    first = str(arguments.workers[0])
    files = {tuple(run.pop("sha256")) for runs in rounds for run in runs.values()}
    figures: dict[str, Any] = dict(rounds[0][first])
    if len(rounds[0]) > 1:
        figures["rounds"] = rounds
        figures["same_files"] = len(files) == 1
        ratios = {name: [runs[first]["seconds"] / runs[name]["seconds"] for runs in rounds] for name in rounds[0]}
        figures["times"] = {name: round(statistics.median(each), 2) for name, each in ratios.items()}
    kind = "_ray" if arguments.ray_nodes else "_workers" if len(arguments.workers) > 1 else ""
    name = "filter" + "_defects" * arguments.defects + kind
    settings = {"rows": arguments.rows, "threshold": 0.7, "workers": arguments.workers, "rounds": arguments.rounds}
    if arguments.ray_nodes:
        settings |= {"ray_nodes": arguments.ray_nodes, "ray": version_of("ray")}
    report(name, figures, settings=settings, save=arguments.save)


def one_round(tasks: Path, arguments: argparse.Namespace, rules: list[str]) -> dict[str, dict[str, Any]]:
    """What each number of workers took, and the cluster where there is to be one."""
    runs = {str(count): measured(tasks, "--workers", str(count), *rules) for count in arguments.workers}
    if arguments.ray_nodes:
        with ray_cluster(arguments.ray_nodes) as cluster:
            runs["ray"] = measured(tasks, "--ray", cluster.address, *rules)
    return runs


def rows() -> Iterator[str]:
    """The released rows, then composed ones without end."""
    with gzip.open(ROWS, "rt", encoding="utf-8") as lines:
        released = list(lines)
    yield from released
    instructions = [json.loads(row)["instruction"] for row in released]
    outputs = itertools.cycle(json.loads(row)["output"] for row in released)
    for instruction, output in zip(composed(random.Random(1), instructions), outputs, strict=False):
        yield json.dumps({"instruction": instruction, "input": "", "output": output}) + "\n"


def measured(tasks: Path, *options: str) -> dict[str, Any]:
    out = Path(tempfile.mkdtemp(dir=tasks.parent))
    command = [sys.executable, "-m", "pacos.cli", "filter", str(tasks), "--out", str(out)]
    seeds = SHARED_DATA / "self_instruct" / "seed_tasks.jsonl"
    used = run_measured([*command, "--seeds", str(seeds), *options])
    funnel = json.loads((out / "stats.json").read_text(encoding="utf-8"))["funnel"]
    return {
        "tasks": funnel["items"],
        "kept": funnel["accepted"],
        "rejected": funnel["rejected"],
        **used,
        "load_at_the_end": round(os.getloadavg()[0], 1),
        "sha256": [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES],
    }


if __name__ == "__main__":
    main()
