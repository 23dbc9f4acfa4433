"""`pacos train`, stopped: nothing of it goes on, the run can be opened at once, and the same command resumes."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from pacos.config import Config, with_values
from pacos.runs import Run
from pacos.serving import guarded
from tests.support.killed_run import ROOT
from tests.support.small_training import read_metrics, training_config, write_tasks
from tests.support.stopped_command import StoppedCommand


@pytest.fixture
def endless(tmp_path: Path, tiny_base: Path) -> Config:
    """A training that ends only where it is stopped."""
    tasks = write_tasks(tmp_path / "tasks.jsonl", 16)
    return training_config(tmp_path, tiny_base, tasks, epochs=20_000, save_steps=20, processes=1)


def words(config: Config, folder: Path) -> list[str]:
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return ["train", "--config", str(file)]


def has_started(config: Config) -> bool:
    return (config.run_dir / guarded.TRAINING_RECORD).exists()


def has_trained(config: Config) -> bool:
    metrics = config.run_dir / "train" / "metrics.jsonl"
    return metrics.is_file() and metrics.read_bytes().count(b"\n") >= 30


@pytest.mark.parametrize(
    ("number", "when"),
    [(signal.SIGINT, has_trained), (signal.SIGTERM, has_trained), (signal.SIGHUP, has_started)],
)
def test_a_signal_ends_the_worker_and_is_one_line(
    number: signal.Signals, when: Callable[[Config], bool], endless: Config, tmp_path: Path
) -> None:
    with StoppedCommand(words(endless, tmp_path), tmp_path / "log") as command:
        assert not command.stop(number, lambda: when(endless))
        assert command.process.returncode == 128 + number
    assert command.said().splitlines()[-1] == "pacos: stopped; rerun the same command to resume"
    assert "Traceback" not in command.said()
    with Run.open(endless):
        assert not (endless.run_dir / guarded.TRAINING_RECORD).exists()


def test_kill_9_ends_the_worker_and_the_same_command_resumes(endless: Config, tmp_path: Path) -> None:
    config = with_values(endless, {"train.epochs": 60})  # 120 steps
    with StoppedCommand(words(config, tmp_path), tmp_path / "log") as command:
        command.wait(lambda: has_trained(config))
        family = psutil.Process(command.process.pid).children(recursive=True)
        assert len(family) >= 3, "guard, launcher, worker"
        command.process.kill()
        command.process.wait()
    again = [sys.executable, "-m", "pacos.cli", *words(config, tmp_path)]
    resumed = subprocess.run(again, cwd=ROOT, capture_output=True, check=False)
    said = resumed.stderr.decode()
    assert resumed.returncode == 0, said
    assert not psutil.wait_procs(family, timeout=0)[1]
    assert "resuming after step" in said
    assert "train: 120 of 120 steps" in said and "\r" not in said, "what a log file holds is lines"
    assert [line["step"] for line in read_metrics(config)] == list(range(1, 121))
