"""The report's part on the dataset: its figures and some of its tasks."""

from pathlib import Path
from typing import Any

from pacos.records import DatasetRow, read_object, read_records

DATASET_SAMPLES = 8

Values = dict[str, Any]


def dataset(folder: Path) -> Values:
    if not (folder / "stats.json").is_file():
        return {}
    rows = read_records(folder / "dataset.jsonl", DatasetRow) if (folder / "dataset.jsonl").is_file() else []
    spread = rows[:: max(1, len(rows) // DATASET_SAMPLES)][:DATASET_SAMPLES]
    samples = [{"instruction": row.instruction, "input": row.input, "output": row.output} for row in spread]
    return {"stats": read_object(folder / "stats.json", todo="generate again"), "samples": samples}
