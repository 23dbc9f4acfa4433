from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pacos.errors import TrainingError
from pacos.train import launch, pipeline
from pacos.train.model.load import load_model, meta_model
from pacos.train.model.memory import GIB, MemoryEstimate, estimate_memory, fit_memory, kept_bytes
from pacos.train.model.precision import training_dtype
from tests.support.small_training import train_here, training_config, write_tasks

# 10 GiB of weights, 1 trained, 1 logits; 1 MiB a token kept, a tenth recomputed.
MEMORY = MemoryEstimate(10 * GIB, GIB, 2**20, 2**20 // 10, GIB, tokens=8192)


def test_weights_optimizer_and_logits_are_those_counted_by_hand(tmp_path: Path, tiny_base: Path) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path)
    found = estimate_memory(meta_model(config), config.train, training_dtype(config), tokens=100)
    # Per layer q, o: 64→64; k, v: 64→32; gate, up: 64→128; down: 128→64; two norms. Tied embeddings of 300 or so.
    vocabulary = load_model(config, "cpu").config.vocab_size
    layer = 2 * 64 * 64 + 2 * 64 * 32 + 3 * 64 * 128 + 2 * 64
    assert found.weights == 4 * (2 * layer + 64 + vocabulary * 64)
    adapters = 8 * (2 * (64 + 64) + 2 * (64 + 32) + 3 * (64 + 128)) * 2
    assert found.trained == 16 * adapters
    assert found.logits == 100 * vocabulary * 16
    whole = training_config(tmp_path, tiny_base, tmp_path, method="full")
    full = estimate_memory(meta_model(whole), whole.train, training_dtype(whole), tokens=100)
    assert full.weights == 0 and full.trained == 5 * found.weights


def test_activations_are_those_that_a_real_forward_pass_keeps(tmp_path: Path, tiny_base: Path) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path)
    per_token = estimate_memory(meta_model(config), config.train, torch.float32, tokens=1).per_token
    model = load_model(config, "cpu")
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in weights:
            kept[place] = tensor
        return tensor

    ids = torch.arange(256)[None]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model.get_base_model().model(input_ids=ids, position_ids=ids, use_cache=False)
    assert output is not None
    real = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 256
    assert per_token == pytest.approx(real, rel=0.15)
    assert kept_bytes(meta_model(config), 128) > 128 * per_token, "the square of the attention is left out"


def test_activations_are_recomputed_only_where_memory_would_not_hold_them(tmp_path: Path, tiny_base: Path) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path)
    assert not fit_memory(MEMORY, config.train, free=24 * GIB).checkpointing
    assert fit_memory(MEMORY, config.train, free=16 * GIB).checkpointing
    asked = training_config(tmp_path, tiny_base, tmp_path, checkpointing=True)
    assert fit_memory(MEMORY, asked.train, free=24 * GIB).checkpointing


def test_what_does_not_fit_is_refused_by_the_keys_to_change(tmp_path: Path, tiny_base: Path) -> None:
    def refused(free: int, **train: Any) -> str:
        with pytest.raises(TrainingError) as failure:
            fit_memory(MEMORY, training_config(tmp_path, tiny_base, tmp_path, **train).train, free * GIB)
        return str(failure.value)

    message = refused(18, checkpointing=False)
    assert message.startswith("train.pack_tokens: 10.0 GiB weights") and "the device has 18.0 GiB free" in message
    assert "train.checkpointing=auto" in message
    # (18 × 0.92 − 12) GiB hold 4,669 tokens of 1 MiB.
    assert "train.pack_tokens=4608" in message
    assert "train.method=qlora" in refused(11) and "pack_tokens=" not in refused(11)


def test_a_run_decides_by_the_memory_of_its_device(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config = training_config(tmp_path, tiny_base, write_tasks(tmp_path / "tasks.jsonl", 16), epochs=1)
    free = 1 << 40
    monkeypatch.setattr(pipeline, "free_memory", lambda device: free)
    caplog.set_level("INFO", logger="pacos")
    train_here(config)
    assert "train: memory: " in caplog.text and "recomputed" not in caplog.text
    memory = estimate_memory(meta_model(config), config.train, torch.float32, tokens=512)
    free = int(replace(memory, checkpointing=True).total * 1.2)
    config = training_config(tmp_path, tiny_base, tmp_path / "tasks.jsonl", "tight", epochs=1)
    train_here(config)
    assert "recomputed" in caplog.text
    free = 1 << 20
    config = training_config(tmp_path, tiny_base, tmp_path / "tasks.jsonl", "none", epochs=1)
    with pytest.raises(TrainingError, match=r"the device has 0\.0 GiB free"):
        train_here(config)


def test_the_plan_shows_it(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    plan = "\n".join(launch.plan(training_config(tmp_path, tiny_base, write_tasks(tmp_path / "tasks.jsonl", 16))))
    assert "memory of a device: 0.0 GiB weights" in plan and "with recomputed activations" in plan
