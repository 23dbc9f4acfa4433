"""The report's part on evaluations: each comparison with its scores and answers, and what of a suite was trained on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacos.records import read_object
from pacos.report.samples import cut, side_by_side

OVERLAPS_SHOWN = 20
AGAIN = "evaluate again"

Values = dict[str, Any]


def evaluation_of_run(folder: Path, path: Path) -> Values:
    comparison = read_object(path, todo=AGAIN)
    contestants = [comparison["base"], *comparison["contestants"]]
    return evaluation(comparison, {one["name"]: folder / one["label"] for one in contestants})


def evaluation(comparison: Values, folders: Mapping[str, Path]) -> Values:
    """`folders` are the contestants' by name, in the comparison's order."""
    scores = {name: read_object(folder / "scores.json", todo=AGAIN) for name, folder in folders.items()}
    # A baseline's answers are copies, nothing to read.
    models = {name: folder for name, folder in folders.items() if scores[name]["base"].get("model", name)}
    return {
        "comparison": comparison,
        "scores": scores,
        "samples": side_by_side(models or folders, comparison["suite"]),
    }


def contamination(run_dir: Path) -> list[Values]:
    """What of each suite turned up in the training data; the counts, and the first overlaps."""
    found = []
    for path in sorted((run_dir / "eval").glob("contamination*.json")):
        values = read_object(path, todo=AGAIN)
        overlaps = [
            one | {side: one[side] | {"text": cut(one[side]["text"])} for side in ("evaluation", "training")}
            for one in values["overlaps"][:OVERLAPS_SHOWN]
        ]
        found.append(values | {"run": run_dir.name, "overlaps": overlaps})
    return found
