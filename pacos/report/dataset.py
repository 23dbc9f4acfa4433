"""The report's part on the dataset: its statistics, and some of its tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pacos.records import DatasetRow, Task, read_records
from pacos.report import charts
from pacos.results import read_result
from pacos.results.dataset import DatasetStats

DATASET_SAMPLES = 8


@dataclass(frozen=True, slots=True)
class ReportedDataset:
    """The statistics of a dataset, and tasks spread evenly over it."""

    stats: DatasetStats
    samples: list[Task]


def dataset_of_run(run_dir: Path) -> ReportedDataset | None:
    """The dataset that a run generated; None if it has generated none. Raises DataError for a broken file."""
    folder = run_dir / "dataset"
    if not (folder / "stats.json").is_file():
        return None
    rows = read_records(folder / "dataset.jsonl", DatasetRow) if (folder / "dataset.jsonl").is_file() else []
    spread = rows[:: max(1, len(rows) // DATASET_SAMPLES)][:DATASET_SAMPLES]
    return ReportedDataset(
        read_result(folder / "stats.json", DatasetStats, todo="generate again"),
        [Task(row.instruction, row.input, row.output) for row in spread],
    )


def dataset_charts(stats: DatasetStats) -> dict[str, Any]:
    """The charts of the dataset's part by name: yield, rejections by reason, and novelty."""
    funnel = stats.funnel
    follow_ups = {"instructions": funnel.instructions, "instances": funnel.instances} if funnel.instances else {}
    steps = {"items": funnel.items, "parsed": funnel.parsed, **follow_ups, "accepted": funnel.accepted}
    return {
        "funnel": charts.bars(steps),
        "reasons": charts.bars(funnel.rejected, charts.FIRST),
        "novelty": charts.novelty(stats.novelty.nearest_rougeL_histogram),
    }
