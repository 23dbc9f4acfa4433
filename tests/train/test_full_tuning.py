"""Every weight tuned: against transformers' Trainer, over two processes, resumed, saved and evaluated."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pacos.config import Config, EvaluateConfig
from pacos.errors import ConfigError, TrainingError
from pacos.evaluate import pipeline as evaluation
from pacos.evaluate.models import models_under_evaluation
from pacos.train import launch
from pacos.train.export.full_model import share_moved
from pacos.train.model.load import load_model
from pacos.train.model.structure import trainable_parameters
from pacos.train.optimization.checkpoints import checkpoint_folders
from tests.conftest import ROOT
from tests.support.small_training import read_metrics, train_here, training_config
from tests.train.test_fsdp import train_sharded
from tests.train.test_train_loop import trainer_curve

SETTINGS: dict[str, Any] = {"method": "full", "learning_rate": 0.003, "epochs": 1, "save_steps": 2}


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path, tasks: Path) -> Config:
    config = training_config(tmp_path_factory.mktemp("full"), tiny_base, tasks, "full", **SETTINGS)
    train_here(config)
    return config


def saved(config: Config) -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = load_file(config.run_dir / "train" / "model" / "model.safetensors")
    return weights


def test_the_curve_equals_that_of_transformers_trainer(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    settings = SETTINGS | {"weight_decay": 0.5, "warmup_ratio": 0.2, "epochs": 2}
    config = training_config(tmp_path, tiny_base, tasks, **settings)
    ours, theirs = train_here(config), trainer_curve(config, tmp_path / "trainer")
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], abs=1e-4)
    assert ours[-1]["loss"] < ours[0]["loss"] - 0.2


def test_the_model_folder_loads_in_transformers_and_is_evaluated_as_a_model_of_its_own(
    tuned: Config, tiny_base: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tuned.run_dir / "train" / "model"
    model = AutoModelForCausalLM.from_pretrained(folder)
    last = load_file(tuned.run_dir / "train" / "checkpoints" / "step-5" / "state" / "weights.safetensors")
    assert all(torch.equal(weight, last[name]) for name, weight in model.named_parameters())
    assert AutoTokenizer.from_pretrained(folder).chat_template
    assert json.loads((folder / "pacos.json").read_text())["base"] == str(tiny_base)
    card = (folder / "README.md").read_text()
    assert "library_name: transformers" in card and "Full fine-tune of" in card and "every weight tuned" in card
    assert not (tuned.run_dir / "train" / "adapter").exists()
    base, own = models_under_evaluation(tuned, folder)
    assert (own.name, own.model.base, own.model.adapter) == ("tuned", str(folder), None)
    assert own.model.sha256 != base.model.sha256
    suites = [{"name": "demo", "path": str(ROOT / "demo" / "suite"), "limit": 1}]
    config = tuned.model_copy(update={"evaluate": EvaluateConfig.model_validate({"suites": suites})})
    assert f"tuned: {folder}" in evaluation.plan(config)


def test_full_tuning_resumes_bit_for_bit(tuned: Config) -> None:
    before, curve = saved(tuned), read_metrics(tuned)
    shutil.rmtree(tuned.run_dir / "train" / "model")
    shutil.rmtree(checkpoint_folders(tuned.run_dir / "train" / "checkpoints")[0])
    train_here(tuned)
    assert [line["loss"] for line in read_metrics(tuned)] == [line["loss"] for line in curve]
    after = saved(tuned)
    assert all(torch.equal(after[name], weight) for name, weight in before.items())


def test_weights_are_held_in_float32_computed_and_saved_in_bfloat16(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pacos.train.model.precision.has_amx", lambda: True)
    config = training_config(tmp_path, tiny_base, tasks, **SETTINGS | {"max_steps": 2})
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    model = load_model(config, torch.device("cpu"))
    assert {weight.dtype for weight in trainable_parameters(model).values()} == {torch.float32}
    assert model(input_ids=torch.tensor([[1, 5]])).logits.dtype == torch.bfloat16
    train_here(config)
    assert {weight.dtype for weight in saved(config).values()} == {torch.bfloat16}
    assert json.loads((config.run_dir / "train" / "model" / "config.json").read_text())["dtype"] == "bfloat16"


def test_a_model_that_equals_its_base_is_refused(tuned: Config, tiny_base: Path) -> None:
    base = dict(load_model(tuned, "cpu").named_parameters())
    with pytest.raises(TrainingError, match="every weight still equals the base's"):
        share_moved(base, tuned)
    assert share_moved(saved(tuned), tuned) > 0.5


def test_two_processes_with_sharded_weights_train_as_one_does(
    tmp_path: Path, tiny_base: Path, tasks: Path, tuned: Config
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, "shared", **SETTINGS)
    ended = train_sharded(config)
    assert ended.returncode == 0, ended.stderr
    assert [line["loss"] for line in read_metrics(config)] == pytest.approx(
        [line["loss"] for line in read_metrics(tuned)], abs=1e-4
    )
    found, expected = saved(config), saved(tuned)
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], rtol=0, atol=1e-4) for name in expected)
    shutil.rmtree(config.run_dir / "train" / "model")
    shutil.rmtree(checkpoint_folders(config.run_dir / "train" / "checkpoints")[0])
    train_here(config)
    assert all(torch.allclose(saved(config)[name], weight, rtol=0, atol=1e-4) for name, weight in found.items())


def test_full_tuning_is_planned_and_takes_no_adapter(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    plan = "\n".join(launch.plan(training_config(tmp_path, tiny_base, tasks, **SETTINGS)))
    assert "every weight" in plan and "vLLM" not in plan
    with pytest.raises(ConfigError, match="full tuning takes no adapter"):
        training_config(tmp_path, tiny_base, tasks, method="full", adapter="x")
