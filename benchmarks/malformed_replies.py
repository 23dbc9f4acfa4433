"""How much of a malformed reply is recovered: `python -m benchmarks.malformed_replies [--replies 300] [--save]`.

Each class of formatting error (benchmarks/replies.py) is drawn many times in replies of sixteen items. An item is
recovered when its three fields are parsed as they were written; a row is merged when it has the text of two items.
"""

import argparse
from collections.abc import Sequence
from random import Random

from benchmarks.replies import ITEMS, SLIPS, malformed
from benchmarks.result import report
from pacos.generate.prompting.parsing import parse_answer
from pacos.records import Task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replies", type=int, default=300, help="replies in each class")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures = {name: _class(name, options.replies) for name in SLIPS}
    worst = min(figure["fewest_of_16"] for figure in figures.values())
    totals = {"fewest_of_16": worst, "merged_rows": sum(figure["merged_rows"] for figure in figures.values())}
    settings = {"replies_per_class": options.replies, "items_per_reply": ITEMS}
    report("malformed_replies", {**totals, "classes": figures}, settings=settings, save=options.save)


def _class(name: str, replies: int) -> dict[str, float]:
    recovered, merged = [], 0
    for seed in range(replies):
        tasks, reply = malformed(name, Random(f"{name}:{seed}"))
        rows = [item.task for item in parse_answer(reply, "stop") if item.task]
        recovered.append(len(set(tasks) & set(rows)))
        merged += sum(_is_merged(row, tasks) for row in rows)
    return {"fewest_of_16": min(recovered), "mean_of_16": sum(recovered) / replies, "merged_rows": merged}


def _is_merged(row: Task, tasks: Sequence[Task]) -> bool:
    text = f"{row.instruction}\n{row.input}\n{row.output}"
    return sum(task.instruction in text for task in tasks) > 1


if __name__ == "__main__":
    main()
