"""`pacos curate` of journals of growing size whose answers hold one task each: seconds, memory, and how both grow.

    python -m benchmarks.curate [--save] [--answers 50000 100000 200000]

Instructions are composed of the words of the released Alpaca set (see `benchmarks/novelty.py`), so that nearly all of
them are accepted: the most that a journal can cost. A journal is curated up to the default target and as a whole; the
pool that each task is compared with grows up to that target, or with the journal.
"""

import argparse
import gzip
import itertools
import json
import math
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.alpaca import ROWS
from benchmarks.measured_command import run_measured
from benchmarks.novelty import composed
from benchmarks.result import report
from pacos.config import GenerateConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, nargs="+", default=[50_000, 100_000, 200_000])
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with gzip.open(ROWS, "rt", encoding="utf-8") as rows:
        published = [json.loads(row)["instruction"] for row in rows]
    instructions = list(itertools.islice(composed(random.Random(1), published), max(arguments.answers)))
    sizes = {
        str(count): {
            "to_the_default_target": measure(instructions[:count], GenerateConfig().target),
            "all": measure(instructions[:count], count),
        }
        for count in sorted(arguments.answers)
    }
    figures = {"answers": sizes, "growth_exponents": growth(sizes)}
    report("curate", figures, settings={"answers": arguments.answers, "preset": "alpaca"}, save=arguments.save)


def measure(instructions: Sequence[str], target: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        journal, out = Path(folder) / "responses.jsonl", Path(folder) / "out"
        with journal.open("w", encoding="utf-8") as lines:
            for request, instruction in enumerate(instructions):
                text = f" {instruction}\n4. Input:\n<noinput>\n4. Output:\nThis is answer {request}.\n"
                answer = {"request": request, "text": text, "finish_reason": "stop"}
                lines.write(json.dumps(answer, ensure_ascii=False) + "\n")
        config = Path(folder) / "experiment.yaml"
        config.write_text(f"name: curate\nmodel: {{base: unused}}\ngenerate: {{target: {target}}}\n", encoding="utf-8")
        command = [sys.executable, "-m", "pacos.cli", "curate", str(journal), "--out", str(out)]
        used = run_measured([*command, "--config", str(config)])
        accepted = json.loads((out / "stats.json").read_text(encoding="utf-8"))["funnel"]["accepted"]
    return {"accepted": accepted, **used}


def growth(sizes: dict[str, dict[str, Any]]) -> dict[str, float]:
    """From each size to the next, the power of the size by which CPU seconds grow where all tasks are taken."""
    return {
        f"{few} to {many}": round(
            math.log(sizes[many]["all"]["cpu_seconds"] / sizes[few]["all"]["cpu_seconds"])
            / math.log(int(many) / int(few)),
            2,
        )
        for few, many in itertools.pairwise(sizes)
    }


if __name__ == "__main__":
    main()
