"""Checkpoints that cannot be written, or hold what must not be kept: a full disk, weights that are not finite."""

import resource
import signal
from pathlib import Path
from typing import Any

import pytest

from pacos.errors import RunError, TrainingError
from pacos.train.optimization import checkpoints, loop
from tests.support.small_training import read_metrics, train_here, training_config


def test_a_disk_that_fills_up_leaves_the_earlier_checkpoint_and_nothing_half(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """safetensors' error is not the operating system's own. A limit of a file's size makes it write no further."""
    config = training_config(tmp_path, tiny_base, tasks, max_steps=3, save_steps=1)
    save, limit = checkpoints.save_checkpoint, resource.getrlimit(resource.RLIMIT_FSIZE)

    def on_a_full_disk(folder: Path, checkpoint: Any, *rest: Any) -> Path:
        if checkpoint.step < 2:
            return save(folder, checkpoint, *rest)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
        try:
            return save(folder, checkpoint, *rest)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, handler)

    monkeypatch.setattr(loop, "save_checkpoint", on_a_full_disk)
    with pytest.raises(RunError, match=r"step-2: cannot write: File too large"):
        train_here(config)
    folder = config.run_dir / "train" / "checkpoints"
    assert [path.name for path in folder.iterdir()] == ["step-1"]
    monkeypatch.setattr(loop, "save_checkpoint", save)
    train_here(config)
    assert [line["step"] for line in read_metrics(config)] == [1, 2, 3]


@pytest.mark.parametrize("rate", [1e30, 1e37, 1e39])
def test_a_step_that_breaks_the_weights_is_not_exported_and_its_cause_is_said(
    tmp_path: Path, tiny_base: Path, tasks: Path, rate: float
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, max_steps=1, learning_rate=rate, warmup_ratio=0.0)
    with pytest.raises(TrainingError, match=r"not finite(?s:.*)train\.learning_rate"):
        train_here(config)
    assert not (config.run_dir / "train" / "adapter").exists()


def test_weights_that_are_not_finite_are_not_saved(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    config = training_config(tmp_path, tiny_base, tasks, max_steps=1)
    apply = loop.Trainer.apply_gradients

    def broken(trainer: Any, rate: float) -> None:
        apply(trainer, rate)
        with torch.no_grad():
            next(weight for weight in trainer.model.parameters() if weight.requires_grad)[0, 0] = torch.nan

    monkeypatch.setattr(loop.Trainer, "apply_gradients", broken)
    with pytest.raises(TrainingError, match=r"not finite after step 1: .*lora_A(?s:.*)lower train\.learning_rate"):
        train_here(config)
    assert not list((config.run_dir / "train" / "checkpoints").glob("*step-*"))
