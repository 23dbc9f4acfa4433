import subprocess
import sys
from pathlib import Path

from pacos.config import resolved_yaml
from tests.conftest import ROOT
from tests.support.small_training import training_config


def test_the_log_of_a_training_has_no_carriage_returns(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    """pacos's own progress, and that of the libraries that load and save."""
    file = tmp_path / "experiment.yaml"
    file.write_text(resolved_yaml(training_config(tmp_path, tiny_base, tasks, max_steps=2)), encoding="utf-8")
    command = [sys.executable, "-m", "pacos.cli", "train", "--config", str(file)]
    ended = subprocess.run(command, capture_output=True, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr.decode()
    assert b"train: 2 of 2 steps" in ended.stderr
    assert b"\r" not in ended.stdout + ended.stderr
