import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from pacos.config import load_config
from pacos.errors import ConfigError, DataError, ModelError, TrainingError
from pacos.train import launch
from pacos.train.__main__ import main
from pacos.train.arguments import parse_arguments
from pacos.train.distributed import check_processes
from tests.conftest import ROOT
from tests.support.small_training import read_metrics, train_here, training_config


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)


def test_two_processes_give_the_loss_curve_of_one(tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None) -> None:
    alone = train_here(training_config(tmp_path, tiny_base, tasks, "alone", batch_size=13))
    # Batches of 13 and a last one of 1: rows split unevenly, and one process has nothing in the last step.
    together = training_config(tmp_path, tiny_base, tasks, "together", batch_size=13, processes=2)
    launch.main(together)
    metrics = read_metrics(together)
    assert [line["examples"] for line in metrics] == [13, 13, 13, 1] * 2
    assert [line["loss"] for line in metrics] == pytest.approx([line["loss"] for line in alone], abs=1e-5)
    assert [line["grad_norm"] for line in metrics] == pytest.approx([line["grad_norm"] for line in alone], rel=1e-3)
    assert (together.run_dir / "train" / "adapter" / "adapter_model.safetensors").is_file()


def test_what_stops_the_processes_is_raised_where_they_were_launched(
    tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, max_length=20)
    with pytest.raises(DataError, match=r"train\.max_length = 20\b"):
        launch.main(config)
    stages = json.loads((config.run_dir / "manifest.json").read_text())["stages"]
    assert stages["train"]["status"] == "failed"


def test_processes_that_die_without_a_word_make_the_launch_fail(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "launch_command", lambda *_: [sys.executable, "-c", "raise SystemExit(9)"])
    with pytest.raises(TrainingError, match="exit code 9"):
        launch.main(training_config(tmp_path, tiny_base, tasks))


def test_the_command_asks_accelerate_for_every_process(
    tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None
) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    one, two = (" ".join(launch.launch_command(config, processes)) for processes in (1, 2))
    assert "--multi_gpu" not in one and "--num_processes 1" in one
    assert "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no --dynamo_backend no" in two
    assert two.endswith(f"--module pacos.train --config {config.run_dir}/config.yaml")
    environment = launch.launch_environment(2)
    assert environment["ACCELERATE_USE_CPU"] == "true" and environment["PACOS_TRAIN_PROCESSES"] == "2"
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(ROOT)


def test_processes_get_the_threads_of_the_environment_else_the_machines(
    tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    monkeypatch.setattr(launch, "physical_cores", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert "--num_cpu_threads_per_process 3" in " ".join(launch.launch_command(config, 2))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert "--num_cpu_threads_per_process" not in launch.launch_command(config, 2)  # accelerate reads the variable


def test_an_accelerate_file_decides_the_number_of_processes(
    tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None
) -> None:
    file = str(ROOT / "configs" / "accelerate" / "ddp.yaml")
    config = training_config(tmp_path, tiny_base, tasks, accelerate=file)
    assert launch.process_count(config.train) == 8
    assert f"--config_file {file} --num_processes 8" in " ".join(launch.launch_command(config, 8))
    assert launch.process_count(training_config(tmp_path, tiny_base, tasks, accelerate=file, processes=2).train) == 2
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        launch.process_count(training_config(tmp_path, tiny_base, tasks, accelerate="nowhere.yaml").train)


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp2"])
def test_the_shipped_accelerate_files_are_accelerates_own(name: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import launch_command_parser

    file = ROOT / "configs" / "accelerate" / f"{name}.yaml"
    values = load_config_from_file(str(file))
    assert values.num_processes == {"single": 1, "ddp": 8, "fsdp2": 8}[name]
    arguments = launch_command_parser().parse_args(["--config_file", str(file), "train.py", "--config", "x.yaml"])
    assert isinstance(arguments, argparse.Namespace) and arguments.training_script == "train.py"


def world(processes: int, kind: str = "NO") -> SimpleNamespace:
    return SimpleNamespace(num_processes=processes, distributed_type=SimpleNamespace(value=kind))


def test_another_number_of_processes_than_configured_is_refused(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TrainingError, match="2 processes are configured and accelerate started 1"):
        check_processes(training_config(tmp_path, tiny_base, tasks, processes=2).train, world(1))
    automatic = training_config(tmp_path, tiny_base, tasks)
    check_processes(automatic.train, world(1))
    monkeypatch.setenv("PACOS_TRAIN_PROCESSES", "2")
    with pytest.raises(TrainingError, match="2 processes"):
        check_processes(automatic.train, world(1))


def test_deepspeed_is_refused_even_where_accelerate_drops_it(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    with pytest.raises(TrainingError, match="DEEPSPEED is not supported"):
        check_processes(config.train, world(2, "DEEPSPEED"))
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(TrainingError, match="DEEPSPEED is not supported"):
        check_processes(config.train, world(2, "MULTI_CPU"))


@pytest.mark.filterwarnings("ignore:.log_with=wandb. was passed")
def test_a_tracker_that_is_not_installed_is_refused(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelerate.tracking._available_trackers", [])
    with pytest.raises(TrainingError, match="wandb is not installed"):
        train_here(training_config(tmp_path, tiny_base, tasks, report_to="wandb"))


def test_the_plan_counts_rows_steps_and_trainable_weights(
    tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None
) -> None:
    plan = "\n".join(launch.plan(training_config(tmp_path, tiny_base, tasks, lora={"r": 12})))
    assert "40 examples" in plan and "10 steps of 8 examples" in plan
    # Per layer q, o: 64→64; k, v: 64→32; gate, up: 64→128; down: 128→64. Two layers, rank 12.
    per_layer = 2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128)
    assert f"{2 * 12 * per_layer:,} trainable weights" in plan
    assert "no rank 12 and serves it as 16" in plan
    assert "accelerate.commands.launch" in plan


def test_the_plan_of_a_run_without_a_dataset_says_so(tmp_path: Path, tiny_base: Path, on_cpu: None) -> None:
    plan = "\n".join(launch.plan(training_config(tmp_path, tiny_base, tmp_path, data=[])))
    assert "not there yet" in plan


def test_unknown_lora_targets_and_missing_models_are_named(
    tmp_path: Path, tiny_base: Path, tasks: Path, on_cpu: None
) -> None:
    with pytest.raises(ConfigError, match="no module named query"):
        launch.plan(training_config(tmp_path, tiny_base, tasks, lora={"r": 8, "targets": ["query"]}))
    with pytest.raises(ModelError, match="no such model folder"):
        launch.plan(training_config(tmp_path, tmp_path / "nowhere", tasks))


def test_train_py_takes_an_experiment_and_overrides(tmp_path: Path, tiny_base: Path) -> None:
    file = tmp_path / "fruit.yaml"
    file.write_text(f"model: {{base: {tiny_base}}}\n")
    config, _ = parse_arguments(
        ["--config", str(file), "train.lora.r=4", "--learning_rate=2e-5", "--num_train_epochs", "1"]
    )
    assert config == load_config(file, ["train.lora.r=4", "train.learning_rate=2e-5", "train.epochs=1"])
    other, _ = parse_arguments(["--config", str(file), "--model_name_or_path", "owner/other"])
    assert (other.model.base, other.train.model) == (str(tiny_base), "owner/other")


def test_train_py_needs_no_file_where_the_flags_say_enough() -> None:
    config, _ = parse_arguments(
        ["--model_name_or_path", "owner/model", "--data-path", "a: b.jsonl", "--output_dir", "out/mine"]
    )
    assert config.model.base == "owner/model" and config.train.model is None
    assert config.train.data[0].path == "a: b.jsonl"
    assert config.run_dir == Path("out/mine")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--learnin_rate", "1"], "did you mean --learning_rate"),
        (["--config"], "expected one argument"),
        (["--config", "nowhere.yaml"], "no such config"),
        (["--data_path", "x.jsonl"], "`model` is missing"),
        (["lora.r=8", "--model_name_or_path", "m"], "unknown key `lora`"),
    ],
)
def test_a_wrong_command_line_is_one_message_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_train_py_alone_shows_how_to_call_it() -> None:
    shown = subprocess.run([sys.executable, "train.py"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "accelerate launch train.py --config" in shown
    assert all(f"\n  {path.stem}\n" in shown for path in (ROOT / "configs").glob("*.yaml"))
