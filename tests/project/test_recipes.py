"""scripts/self-instruct-table, planned from beginning to end without GPU and network."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.superni_folder import write_superni

ROOT = Path(__file__).resolve().parents[2]


def test_the_papers_table_is_planned_a_step_a_stage(tiny_base: Path, tmp_path: Path) -> None:
    suite = write_superni(tmp_path / "superni", {"task1_a": {}, "task2_b": {}}, listed=["task1_a"])
    shutil.copyfile(suite / "splits" / "default" / "test_tasks.txt", suite / "splits" / "default" / "train_tasks.txt")
    environment = os.environ | {
        "PACOS": f"{sys.executable} -m pacos.cli",
        "RUNS": str(tmp_path / "runs"),
        "SUPERNI": str(suite),
        "HF_HUB_OFFLINE": "1",
    }
    command: list[str | Path] = [ROOT / "scripts" / "self-instruct-table", str(tiny_base), "--dry-run"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-2000:]
    stages = [line for line in ended.stdout.splitlines() if line in ("generate:", "train:", "evaluate:")]
    assert stages == ["generate:", "train:", "train:", "evaluate:"]
    assert "3 of 3 instances, 1 of 1 tasks present" in ended.stdout
    assert not (tmp_path / "runs").exists()
