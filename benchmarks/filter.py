"""`pacos filter` on the 52,002 released Alpaca rows with the official seeds: it keeps its own output, in a minute.

python -m benchmarks.filter [--save] [--rows 52002] [--defects]
"""

import argparse
import gzip
import itertools
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.result import SHARED_DATA, report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=52_002)
    parser.add_argument("--defects", action="store_true")
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tasks, out = Path(folder) / "alpaca.jsonl", Path(folder) / "out"
        with gzip.open(SHARED_DATA / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
            tasks.write_text("".join(itertools.islice(rows, arguments.rows)), encoding="utf-8")
        seeds = SHARED_DATA / "self_instruct" / "seed_tasks.jsonl"
        options = ["--out", str(out), "--seeds", str(seeds), *(["--defects"] if arguments.defects else [])]
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "pacos.cli", "filter", str(tasks), *options], check=True)
        seconds = time.perf_counter() - began
        funnel = json.loads((out / "stats.json").read_text(encoding="utf-8"))["funnel"]
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "tasks": funnel["items"],
        "kept": funnel["accepted"],
        "rejected": funnel["rejected"],
        "seconds": round(seconds, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mib": used.ru_maxrss // 1024,
    }
    name = "filter_defects" if arguments.defects else "filter"
    report(name, figures, settings={"rows": arguments.rows, "threshold": 0.7}, save=arguments.save)


if __name__ == "__main__":
    main()
