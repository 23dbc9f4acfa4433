"""A sweep run whole: real commands and the real trainer, a scripted server instead of the engine."""

import json
from pathlib import Path

import pytest
import yaml

from pacos.cli import main as command_line
from pacos.config import with_values
from pacos.errors import ConfigError
from pacos.sweeps import pipeline, training
from pacos.sweeps.training import environment_of, train_all
from pacos.sweeps.trials import read_grid
from tests.support import looped_run
from tests.support.scripted_server import ScriptedServer
from tests.support.small_training import write_tasks
from tests.support.superni_folder import write_superni


def experiment(tmp_path: Path, base: Path, url: str) -> Path:
    suite = write_superni(tmp_path / "suite", {f"task{number}_x": {} for number in range(4)})
    values = {
        "name": "swept",
        "runs_dir": str(tmp_path / "runs"),
        "model": {"base": str(base), "dtype": "float32"},
        "engine": {"url": url, "max_in_flight": 4},
        "train": {
            "data": [{"path": str(write_tasks(tmp_path / "tasks.jsonl", 24))}],
            "batch_size": 8,
            "epochs": 1,
            "max_length": 128,
            "lora": {"r": 4, "alpha": 8},
        },
        "evaluate": {"suites": [{"name": "small", "path": str(suite), "max_tokens": 8}]},
    }
    path = tmp_path / "swept.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_a_sweep_trains_evaluates_and_selects(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer(answer=looped_run.Model(tiny_base)) as server:
        path = experiment(tmp_path, tiny_base, server.url)
        words = ["train.learning_rate=1e-3,2e-4"]
        selection = pipeline.main(read_grid(path, words))
        trained = sorted((tmp_path / "runs" / "swept" / "trials").glob("*/train/adapter/adapter_model.safetensors"))
        asked = len(server.asked)
        again = pipeline.main(read_grid(path, words))
    assert [one.parts[-4] for one in trained] == ["default", "learning_rate-1e-3"]
    assert len(list((tmp_path / "runs" / "swept" / "trials" / "tokenized").iterdir())) == 1
    # The scripted server answers every adapter alike, so there is nothing to win.
    assert (selection.default, [one.name for one in selection.candidates]) == ("default", ["learning_rate-1e-3"])
    assert selection.winner == ""
    assert again == selection
    assert len(server.asked) == asked > 0
    sweep = json.loads((tmp_path / "runs" / "swept" / "sweep.json").read_text())
    assert [(one["name"], one["state"]) for one in sweep["trials"]] == [
        ("default", "trained"),
        ("learning_rate-1e-3", "trained"),
    ]


def test_trainings_that_fail_side_by_side_on_one_device_are_all_recorded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = experiment(tmp_path, tmp_path / "no-model", "http://127.0.0.1:1/v1")
    trials = read_grid(path, ["train.lora.r=1,2"]).trials
    records = train_all(trials, ["0", "0"])
    assert [(one.name, one.state) for one in records] == [(trial.name, "failed") for trial in trials]
    output = tmp_path / "runs" / "swept" / "trials" / "r-2.txt"
    assert f"r-2 failed with exit code 2; its own message is in {output}" in caplog.text
    assert "no such model folder" in output.read_text(encoding="utf-8")


def test_trainings_on_a_cpu_share_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "physical_cores", lambda: 8)
    assert environment_of("cpu", 2) == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "4"}
    assert environment_of("cpu", 16)["OMP_NUM_THREADS"] == "1"
    assert environment_of("3", 2) == {"CUDA_VISIBLE_DEVICES": "3"}
    assert environment_of("", 1) == {}


def test_prepared_trials_are_commands_for_a_scheduler(tmp_path: Path) -> None:
    grid = read_grid(experiment(tmp_path, Path("owner/model"), "http://127.0.0.1:1/v1"), ["train.lora.r=1,2"])
    commands = pipeline.prepare(grid)
    written = tmp_path / "runs" / "swept" / "trials" / "r-2.yaml"
    assert commands[2] == f"pacos train --config {written}"
    assert yaml.safe_load(written.read_text())["train"]["lora"]["r"] == 2


def test_a_sweep_without_a_suite_is_refused(tmp_path: Path) -> None:
    grid = read_grid(experiment(tmp_path, Path("owner/model"), "http://127.0.0.1:1/v1"), ["train.lora.r=1,2"])
    bare = with_values(grid.config, {"evaluate.suites": []})
    with pytest.raises(ConfigError, match=r"evaluate\.suites: trials are chosen by a suite, and there is none"):
        pipeline.check(type(grid)(bare, grid.trials))


def test_the_dry_run_names_the_trials_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = experiment(tmp_path, Path("owner/model"), "http://127.0.0.1:1/v1")
    monkeypatch.setattr("sys.argv", ["pacos", "sweep", str(path), "train.lora.r=1,2", "--dry-run"])
    with pytest.raises(SystemExit) as ended:
        command_line()
    assert not ended.value.code
    assert "r-2: train.lora.r=2" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()
