"""Writes the evaluation suite, in SuperNI's format, to `demo/suite/`: `python -m demo.suite`.

The files are committed; this command gives the same bytes again.
"""

import json
from pathlib import Path

from demo.suite_text import SUITE
from pacos.records import write_text

FOLDER = Path(__file__).parent / "suite"


def suite_files() -> dict[str, str]:
    """Every file of the suite with its text, by its path in the folder."""
    tasks = {
        f"tasks/{task.file_name}.json": json.dumps(task.to_superni(), indent=4, ensure_ascii=False) + "\n"
        for task in SUITE
    }
    names = "".join(f"{task.file_name}\n" for task in SUITE)
    splits = {"test_tasks": names, "train_tasks": "", "excluded_tasks": ""}
    return tasks | {f"splits/default/{split}.txt": text for split, text in splits.items()}


def main() -> None:
    files = suite_files()
    for path, text in files.items():
        write_text(FOLDER / path, text)
    print(f"{FOLDER}: {len(SUITE)} tasks, {sum(len(task.pairs()) for task in SUITE)} instances")


if __name__ == "__main__":
    main()
