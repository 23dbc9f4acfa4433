"""Is the run's dataset correct, and is the evaluation clean? `python -m demo.check RUN_DIR [--base DIR]`.

Works out the answer of every accepted row again, family by family, and looks for the suite's texts in everything
the models learnt from: the base's text (composed again), the seeds and the dataset. Writes `RUN_DIR/checks.json`.
"""

import argparse
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from demo.base import amounts_seen
from demo.corpus import Amounts, seed_tasks, tasks_of
from demo.families import is_correct, recognise
from demo.overlap import SuiteIndex, texts_of
from pacos.records import Task, read_tasks, write_json

_LISTED = 10

CORRECT_GOAL = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run directory, e.g. runs/quickstart")
    parser.add_argument("--base", type=Path, default=Path(".cache/demo-base"), help="folder of the base model")
    options = parser.parse_args()
    console = Console()

    tasks = read_tasks(options.run / "dataset")
    correctness = correct_answers(tasks)
    console.print(_correctness_table(correctness))
    with console.status("looking for the suite's texts in the training text"):
        overlap = suite_overlap(tasks, amounts_seen(options.base))
    console.print(_overlap_table(overlap))
    checks = report_lines(correctness, overlap)
    write_json(options.run / "checks.json", {"checks": checks, "correctness": correctness, "overlap": overlap})
    console.print(f"written: {options.run / 'checks.json'}")


def correct_answers(tasks: Iterable[Task]) -> dict[str, Any]:
    """Counts of rows, of rows that a family recognises, and of correct ones; an unrecognised row is not correct."""
    rows: Counter[str] = Counter()
    correct: Counter[str] = Counter()
    unrecognised = 0
    for task in tasks:
        family = recognise(task.instruction)
        if family is None:
            unrecognised += 1
            continue
        rows[family.name] += 1
        correct[family.name] += bool(is_correct(task))
    total = unrecognised + rows.total()
    return {
        "rows": total,
        "unrecognised": unrecognised,
        "correct": correct.total(),
        "correct_share": correct.total() / total if total else 0.0,
        "families": {name: {"rows": rows[name], "correct": correct[name]} for name in sorted(rows)},
    }


def suite_overlap(dataset: Iterable[Task], amounts: Amounts) -> dict[str, Any]:
    """For each source of training text: how many of its texts overlap with the suite, by measure, and which."""
    index = SuiteIndex()
    sources = {"base": tasks_of(amounts), "seeds": seed_tasks(), "dataset": dataset}
    report = {}
    for name, tasks in sources.items():
        found = index.overlaps(texts_of(tasks))
        by_measure = Counter(overlap.measure for overlap in found)
        report[name] = {
            **{measure: by_measure[measure] for measure in ("exact", "run", "rougeL")},
            "examples": [overlap._asdict() for overlap in found[:_LISTED]],
        }
    return report


def report_lines(correctness: dict[str, Any], overlap: dict[str, Any]) -> list[dict[str, Any]]:
    """What the run's report.html shows of it: name, passed, detail."""
    share = correctness["correct_share"]
    lines = [
        {
            "name": "accepted tasks with a correct answer",
            "passed": share >= CORRECT_GOAL,
            "detail": f"{correctness['correct']} of {correctness['rows']}: {share:.0%}, the goal is {CORRECT_GOAL:.0%}",
        }
    ]
    for source, counts in overlap.items():
        found = counts["exact"] + counts["run"] + counts["rougeL"]
        detail = f"{found} texts overlap" if found else "no text of five words or more overlaps"
        lines.append({"name": f"{source} text against the suite's", "passed": not found, "detail": detail})
    return lines


def _correctness_table(report: dict[str, Any]) -> Table:
    table = Table(title="Accepted rows with a correct answer", title_justify="left")
    table.add_column("family")
    for heading in ("rows", "correct"):
        table.add_column(heading, justify="right")
    for name, counts in sorted(report["families"].items(), key=lambda entry: -entry[1]["rows"]):
        table.add_row(name, str(counts["rows"]), str(counts["correct"]))
    table.add_section()
    table.add_row("in no family", str(report["unrecognised"]), "0")
    table.add_row("all rows", str(report["rows"]), f"{report['correct']} ({report['correct_share']:.1%})")
    return table


def _overlap_table(report: dict[str, Any]) -> Table:
    table = Table(title="Training texts that overlap with the suite", title_justify="left")
    table.add_column("source")
    for heading in ("same text", "13 words", "ROUGE-L ≥ 0.7"):
        table.add_column(heading, justify="right")
    for name, counts in report.items():
        table.add_row(name, str(counts["exact"]), str(counts["run"]), str(counts["rougeL"]))
    return table


if __name__ == "__main__":
    main()
