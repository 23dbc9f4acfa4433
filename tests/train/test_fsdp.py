"""FSDP as a user starts it, on two gloo processes: `accelerate launch` starts both even on a CPU."""

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.distributed import check_processes
from pacos.train.model.fsdp import SUPPORTED, check_fsdp_settings, shard
from tests.conftest import ROOT
from tests.support.small_training import read_metrics, train_here, training_config, write_tasks
from tests.train.test_train_launch import world
from tests.train.test_train_loop import broken_at

# Batches of 13 and a last one of 1, in several micro-batches: one process has no example in the last step.
SETTINGS: dict[str, Any] = {"batch_size": 13, "pack_tokens": 256, "save_steps": 4}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tasks: Path) -> Config:
    """A finished run of one process, whose base is not sharded."""
    config = training_config(tmp_path_factory.mktemp("alone"), tiny_base, tasks, "alone", **SETTINGS)
    train_here(config)
    return config


def launch(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", "configs/accelerate/fsdp2.yaml"]
    command += ["--num_processes", "2", "--num_cpu_threads_per_process", "1", "--main_process_port", "0"]
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "PYTHONPATH": str(ROOT)}
    environment.pop("TQDM_DISABLE", None)
    return subprocess.run(
        [*command, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )


def train_sharded(config: Config, *script: str) -> subprocess.CompletedProcess[str]:
    file = config.run_dir.with_suffix(".json")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(config.model_dump(mode="json")))
    return launch(*(script or ["train.py"]), "--config", str(file))


def unfinished(config: Config) -> None:
    """Make a finished run look stopped after step 4 of 8."""
    shutil.rmtree(config.run_dir / "train" / "adapter")
    shutil.rmtree(config.run_dir / "train" / "checkpoints" / "step-8")


def check_same_result(config: Config, alone: Config) -> None:
    curve, expected = read_metrics(config), read_metrics(alone)
    assert [line["examples"] for line in curve] == [13, 13, 13, 1] * 2
    assert [line["loss"] for line in curve] == pytest.approx([line["loss"] for line in expected], abs=1e-5)
    assert [line["grad_norm"] for line in curve] == pytest.approx([line["grad_norm"] for line in expected], rel=1e-4)
    for path in ("adapter/adapter_model", "checkpoints/step-8/state/optimizer"):
        found, wanted = (load_file(run.run_dir / "train" / f"{path}.safetensors") for run in (config, alone))
        assert {name: (weight.shape, weight.dtype) for name, weight in found.items()} == {
            name: (weight.shape, weight.dtype) for name, weight in wanted.items()
        }
        assert all(torch.allclose(found[name], wanted[name], rtol=0, atol=1e-5) for name in wanted)


def test_two_shards_train_as_one_process_does_and_one_process_resumes_from_them(
    tmp_path: Path, tiny_base: Path, tasks: Path, alone: Config
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, "shared", **SETTINGS)
    ended = train_sharded(config)
    assert ended.returncode == 0, ended.stderr
    assert "8 steps on 2 × cpu" in ended.stderr
    assert "%|" not in ended.stderr and "\r" not in ended.stderr, "bars of libraries, in a log"
    check_same_result(config, alone)
    unfinished(config)
    train_here(config)
    check_same_result(config, alone)


def test_shards_resume_from_a_checkpoint_of_one_process(
    tmp_path: Path, tiny_base: Path, tasks: Path, alone: Config
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, **SETTINGS)
    train_here(config)
    unfinished(config)
    # Recomputed layers gather their weights a second time, in the backward pass.
    ended = train_sharded(training_config(tmp_path, tiny_base, tasks, **SETTINGS, checkpointing=True))
    assert "resuming after step 4" in ended.stderr, ended.stderr
    check_same_result(config, alone)


def test_two_shards_of_a_base_in_four_bits_train_as_one_process_does(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: scripts/setup installs it")
    monkeypatch.setattr("pacos.train.model.quantization.check_four_bits", lambda: None)
    alone, shared = (
        training_config(tmp_path, tiny_base, tasks, name, **SETTINGS, method="qlora") for name in ("alone", "shared")
    )
    train_here(alone)
    ended = train_sharded(shared, "--module", "tests.support.train_in_four_bits")
    assert ended.returncode == 0, ended.stderr
    check_same_result(shared, alone)


@pytest.mark.parametrize(("method", "dtype"), [("lora", "bfloat16"), ("qlora", "float32")])
def test_every_process_holds_its_shard_of_the_base_and_gives_the_gradients_of_the_full_model(
    tmp_path: Path, tiny_base: Path, tasks: Path, method: str, dtype: str
) -> None:
    if method == "qlora":
        pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: scripts/setup installs it")
    config = training_config(tmp_path, tiny_base, tasks, method=method)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})
    (tmp_path / "config.json").write_text(json.dumps(config.model_dump(mode="json")))
    ended = launch("--module", "tests.support.sharded_model", str(tmp_path / "config.json"))
    lines = [line.removeprefix("HELD ") for line in ended.stdout.splitlines() if line.startswith("HELD ")]
    assert len(lines) == 2, ended.stderr
    for held in map(json.loads, lines):
        for name, found in held["dtypes"].items():
            packed = method == "qlora" and name.endswith("proj.base_layer.weight")
            assert found == f"torch.{'float32' if 'lora' in name else 'uint8' if packed else dtype}", name
        assert held["losses"][0] == pytest.approx(held["losses"][1], rel=1e-5)
    # Two layers of seven linear modules, two halves each; only the main process keeps what all gather.
    main, other = sorted(map(json.loads, lines), key=lambda held: -held["gathered"])
    for name, (shape, shard_shape) in main["shards"].items():
        assert shard_shape == [math.ceil(shape[0] / 2), *shape[1:]]
        assert other["shards"][name] == [shape, [shape[0] // 2, *shape[1:]]]
    assert (main["gathered"], other["gathered"]) == (28, 0)
    assert main["worst gradient"] < 1e-5


def test_sharded_processes_find_the_row_that_is_not_finite_and_stop(tmp_path: Path, tiny_base: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 24)
    lines = tasks.read_text().splitlines()
    lines[16] = json.dumps({"instruction": "Say it to a lazy dog and a fox.", "output": "~ the quick brown fox"})
    tasks.write_text("\n".join(lines) + "\n")
    config = training_config(tmp_path, broken_at(tiny_base, "~", tmp_path / "broken"), tasks, batch_size=13)
    ended = train_sharded(config)
    assert ended.returncode != 0
    assert "caused by tasks.jsonl:17\n" in ended.stderr
    assert not (config.run_dir / "train" / "adapter").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("fsdp_version", "1"),
        ("fsdp_version", None),
        ("fsdp_reshard_after_forward", "full_shard"),
        ("fsdp_auto_wrap_policy", "SIZE_BASED_WRAP"),
        ("fsdp_transformer_layer_cls_to_wrap", "LlamaMLP"),
        ("fsdp_offload_params", "true"),
        ("fsdp_cpu_ram_efficient_loading", "true"),
        ("fsdp_activation_checkpointing", "true"),
        ("fsdp_state_dict_type", "SHARDED_STATE_DICT"),
        ("parallelism_config", "true"),
        ("dynamo_backend", "INDUCTOR"),
    ],
)
def test_an_unsupported_setting_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, key: str, value: str | None
) -> None:
    monkeypatch.setenv("FSDP_VERSION", "2")
    check_fsdp_settings()
    if value is None:
        monkeypatch.delenv(SUPPORTED[key][0])
    else:
        monkeypatch.setenv(SUPPORTED[key][0], value)
    with pytest.raises(TrainingError, match=f"{key}: {value or 1}"):
        check_fsdp_settings()


def test_one_process_cannot_shard(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    with pytest.raises(TrainingError, match="FSDP is not supported"):
        check_processes(config.train, world(2, "FSDP"))
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    check_processes(config.train, world(2, "FSDP"))
    check_processes(config.train, world(2, "MULTI_CPU"))
    with pytest.raises(TrainingError, match="started one process"):
        check_processes(config.train, world(1))
    with pytest.raises(TrainingError, match="4 processes are configured and accelerate started 2"):
        check_processes(training_config(tmp_path, tiny_base, tasks, processes=4).train, world(2, "MULTI_CPU"))


def test_a_model_without_known_layers_is_refused() -> None:
    class Base(torch.nn.Linear):
        _no_split_modules = None

    base = Base(2, 2)
    with pytest.raises(TrainingError, match="_no_split_modules"):
        shard(base, base, torch.device("cpu"), 2)
