"""The notebook of examples/first_hour.py: `python -m tests.support.notebook` writes it.

The script's cells begin with `# %%`, and those of text with `# %% [markdown]`, as Jupyter's editors and jupytext read
them.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "examples" / "first_hour.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")
CELL, TEXT = "# %%", " [markdown]"


def notebook_of(script: str) -> dict[str, Any]:
    """Return the notebook (nbformat 4.5) with the script's cells, without outputs."""
    cells = []
    for number, block in enumerate(script.split(CELL)[1:]):
        marker, _, body = block.partition("\n")
        is_text = marker == TEXT
        lines = body.strip("\n").splitlines()
        source = "\n".join(line.removeprefix("#").removeprefix(" ") for line in lines) if is_text else "\n".join(lines)
        kind: dict[str, Any] = {"cell_type": "markdown"}
        if not is_text:
            kind = {"cell_type": "code", "execution_count": None, "outputs": []}
        cells.append({"id": f"cell-{number}", **kind, "metadata": {}, "source": source.splitlines(keepends=True)})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def notebook_text(script: str) -> str:
    """Return the notebook as the file has it."""
    return json.dumps(notebook_of(script), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    NOTEBOOK.write_text(notebook_text(SCRIPT.read_text(encoding="utf-8")), encoding="utf-8")
