"""The notebook teaches what the script does, and both run: fetch, generate, look, train, compare, on the real model."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from pacos.records import DatasetRow, read_records
from pacos.results import read_result
from pacos.results.comparison import Comparison
from pacos.results.manifest import read_manifest
from tests.support.notebook import NOTEBOOK, ROOT, SCRIPT, notebook_of, notebook_text


@pytest.fixture(scope="module")
def executed(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder that the notebook was executed in, and the notebook with its outputs."""
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    nbformat = pytest.importorskip("nbformat", reason="needs the docs extra")
    nbclient = pytest.importorskip("nbclient", reason="needs the docs extra")
    pytest.importorskip("ipykernel", reason="needs the docs extra")
    folder = tmp_path_factory.mktemp("hour")
    for name in ("configs", "demo", ".cache"):
        (folder / name).symlink_to(ROOT / name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": paths, "IPYTHONDIR": str(folder / ".ipython")}
    client = nbclient.NotebookClient(notebook, timeout=1200, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    return folder, notebook


def test_the_notebook_is_made_from_the_script() -> None:
    written = NOTEBOOK.read_text(encoding="utf-8")
    assert written == notebook_text(SCRIPT.read_text(encoding="utf-8")), "scripts/docs write"


def test_cells_of_text_and_code_become_cells_of_a_notebook() -> None:
    first, second, third = notebook_of(
        "# %% [markdown]\n# A *text*.\n#\n# More.\n\n# %%\nx = 1\n\n\ny = 2\n\n# %%\nz\n"
    )["cells"]
    assert (first["cell_type"], "".join(first["source"])) == ("markdown", "A *text*.\n\nMore.")
    assert (second["cell_type"], "".join(second["source"])) == ("code", "x = 1\n\n\ny = 2")
    assert (third["cell_type"], "".join(third["source"])) == ("code", "z")


def test_the_notebook_is_a_valid_one_without_outputs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs the docs extra")
    nbformat.validate(nbformat.read(NOTEBOOK, as_version=4))
    assert not any(cell.get("outputs") for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"])


def test_the_examples_take_everything_of_pacos_from_the_public_interface() -> None:
    imported = re.findall(r"^\s*(?:from|import) (pacos[\w.]*)", SCRIPT.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(imported) == {"pacos.api"}


def test_the_first_hour_ends_with_a_comparison_and_a_report(executed: tuple[Path, Any]) -> None:
    folder, notebook = executed
    run_dir = folder / "runs" / "first-hour"
    rows = read_records(run_dir / "dataset" / "dataset.jsonl", DatasetRow)
    assert len(rows) == 20 == len({row.instruction for row in rows})
    assert all(len(row.instruction.split()) > 3 and row.output for row in rows)
    comparison = read_result(run_dir / "eval" / "comparison.json", Comparison, todo="")
    assert {one.name for one in comparison.contestants} >= {"tuned", "copy-input"}
    assert comparison.tasks == 40
    assert (run_dir / "report.html").is_file()
    assert {stage: record.status for stage, record in read_manifest(run_dir).stages.items()} == {
        "generate": "done",
        "train": "done",
        "evaluate": "done",
    }
    shown = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "20 accepted" in shown
    assert rows[0].instruction in shown
    assert re.search(r"tuned\s+ROUGE-L\s+[\d.]+\s+[+-][\d.]+ \[", shown)
