import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from pacos.config import Config
from pacos.errors import RunError
from pacos.train.optimization.checkpoints import checkpoint_folders, find_damage
from tests.conftest import ROOT
from tests.support.small_training import read_metrics, train_here, training_config, write_tasks
from tests.support.tiny_llama import build_tiny_llama


def adapter_bytes(config: Config) -> bytes:
    return (config.run_dir / "train" / "adapter" / "adapter_model.safetensors").read_bytes()


def unfinished(config: Config) -> None:
    """Make a finished run look stopped before its end: no adapter, not done, its last checkpoint lost."""
    shutil.rmtree(config.run_dir / "train" / "adapter")
    shutil.rmtree(checkpoint_folders(config.run_dir / "train" / "checkpoints")[0])


def losses(config: Config) -> list[float]:
    return [line["loss"] for line in read_metrics(config)]


def test_a_run_killed_at_any_moment_resumes_bit_for_bit(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    settings = {"epochs": 8, "save_steps": 3, "lora": {"r": 8, "alpha": 16, "dropout": 0.1}}
    whole = training_config(tmp_path, tiny_base, tasks, "whole", **settings)
    train_here(whole)

    killed = training_config(tmp_path, tiny_base, tasks, "killed", **settings)
    file = tmp_path / "killed.json"
    file.write_text(json.dumps(killed.model_dump(mode="json")))
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--config", str(file)], env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    metrics = killed.run_dir / "train" / "metrics.jsonl"
    while process.poll() is None and (not metrics.exists() or metrics.read_bytes().count(b"\n") < 8):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(read_metrics(killed)) if metrics.read_bytes().endswith(b"\n") else 8
    assert 8 <= done < 40, "it must die in mid-run for this test to mean anything"
    assert not (killed.run_dir / "train" / "adapter").exists()

    train_here(killed)
    assert losses(killed) == losses(whole)
    assert adapter_bytes(killed) == adapter_bytes(whole)


@pytest.mark.parametrize("damage", ["no COMPLETE", "no optimizer", "torn adapter"])
def test_a_damaged_checkpoint_is_ignored_for_the_one_before(
    tmp_path: Path, tiny_base: Path, tasks: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, save_steps=4, keep=3)
    train_here(config)
    finished, curve = adapter_bytes(config), losses(config)
    unfinished(config)
    last = checkpoint_folders(config.run_dir / "train" / "checkpoints")[0]
    if damage == "no COMPLETE":
        (last / "COMPLETE").unlink()
    elif damage == "no optimizer":
        (last / "state" / "optimizer.safetensors").unlink()
    else:
        torn = last / "adapter" / "adapter_model.safetensors"
        torn.write_bytes(torn.read_bytes()[:-100])
    with caplog.at_level("INFO", logger="pacos"):
        train_here(config)
    assert f"ignoring the damaged checkpoint {last}" in caplog.text
    assert "resuming after step 4" in caplog.text
    assert adapter_bytes(config) == finished and losses(config) == curve


def test_only_the_newest_checkpoints_are_kept_and_each_is_complete(
    tmp_path: Path, tiny_base: Path, tasks: Path
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, save_steps=2, keep=2)
    train_here(config)
    folders = checkpoint_folders(config.run_dir / "train" / "checkpoints")
    assert [folder.name for folder in folders] == ["step-10", "step-8"]
    assert all(not find_damage(folder) for folder in folders)
    assert sorted(path.name for path in (config.run_dir / "train" / "checkpoints").iterdir()) == ["step-10", "step-8"]


def test_a_checkpoint_holds_the_adapter_and_not_the_base(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    config = training_config(tmp_path, tiny_base, tasks)
    train_here(config)
    [folder] = checkpoint_folders(config.run_dir / "train" / "checkpoints")
    assert all("lora_" in name for name in load_file(folder / "adapter" / "adapter_model.safetensors"))
    assert all("lora_" in name for name in load_file(folder / "state" / "optimizer.safetensors"))


def test_resuming_with_other_data_is_refused(tmp_path: Path, tiny_base: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 40)
    config = training_config(tmp_path, tiny_base, tasks, save_steps=4)
    train_here(config)
    unfinished(config)
    write_tasks(tasks, 40, seed=1)
    with pytest.raises(RunError, match="another dataset_sha256"):
        train_here(config)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"learning_rate": 0.02}, "learning_rate"), ({"epochs": 3}, "epochs"), ({"lora": {"r": 4}}, "lora")],
)
def test_resuming_with_another_recipe_is_refused(
    tmp_path: Path, tiny_base: Path, tasks: Path, change: dict[str, Any], named: str
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, save_steps=4)
    train_here(config)
    unfinished(config)
    with pytest.raises(RunError, match=f"another {named};"):
        train_here(training_config(tmp_path, tiny_base, tasks, save_steps=4, **change))


def test_resuming_with_another_base_of_the_same_name_is_refused(tmp_path: Path, tasks: Path) -> None:
    base = build_tiny_llama(tmp_path / "base")
    config = training_config(tmp_path, base, tasks, save_steps=4)
    train_here(config)
    unfinished(config)
    build_tiny_llama(base, seed=1)
    with pytest.raises(RunError, match="another base_sha256;"):
        train_here(config)


def test_settings_that_only_affect_speed_may_change_on_resume(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    config = training_config(tmp_path, tiny_base, tasks, save_steps=4)
    train_here(config)
    curve = losses(config)
    unfinished(config)
    train_here(training_config(tmp_path, tiny_base, tasks, save_steps=5, pack_tokens=1024, checkpointing=True))
    assert losses(config) == pytest.approx(curve, abs=1e-5)


@pytest.mark.parametrize(
    "content", ["", "[]", '{"state": ' + "[" * 100_000, b"\xff\xfe"], ids=["empty", "list", "deep", "bytes"]
)
def test_a_damaged_list_of_files_is_no_complete_checkpoint(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "COMPLETE").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "COMPLETE, cannot be read" in find_damage(tmp_path)
