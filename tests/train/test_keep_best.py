"""`train.keep_best`: the weights with the least held-out loss are kept and exported, whatever happens on the way."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pacos.config import Config
from pacos.errors import ConfigError, RunError, TrainingError
from pacos.models import load_tokenizer
from pacos.train import launch
from pacos.train.data.examples import Example
from pacos.train.data.tokenized import load_dataset
from pacos.train.optimization.checkpoints import checkpoint_folders, save_checkpoint
from pacos.train.packing.plan import plan_run
from pacos.train.pipeline import recipe
from tests.support.small_training import read_metrics, train_here, training_config, write_tasks

# Five rows of random words, twenty-four times over: the loss on six others is least halfway.
OVERFITTING: dict[str, Any] = {
    "epochs": 24,
    "eval_examples": 6,
    "keep_best": True,
    "save_steps": 3,
    "learning_rate": 0.006,
    "lora": {"r": 32, "alpha": 64, "dropout": 0.1},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """A model that knows the words already, so that there is nothing left to learn from few rows but themselves."""
    folder = tmp_path_factory.mktemp("base")
    tasks = write_tasks(folder / "tasks.jsonl", 40, seed=7)
    config = training_config(folder, tiny_base, tasks, method="full", epochs=4)
    train_here(config)
    return config.run_dir / "train" / "model"


@pytest.fixture(scope="module")
def few_tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tasks(tmp_path_factory.mktemp("few") / "tasks.jsonl", 11)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, base: Path, few_tasks: Path) -> Config:
    """A run that nothing stopped."""
    config = overfitting(tmp_path_factory.mktemp("whole"), base, few_tasks)
    train_here(config)
    return config


def overfitting(folder: Path, base: Path, tasks: Path, name: str = "run", **train: Any) -> Config:
    return training_config(folder, base, tasks, name, **OVERFITTING | train)


def copy_unfinished(whole: Config, config: Config) -> None:
    """A copy of a run that was stopped between its last checkpoint and the export."""
    shutil.copytree(whole.run_dir, config.run_dir)
    shutil.rmtree(config.run_dir / "train" / "adapter")
    manifest = config.run_dir / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"stages": {}}))


def adapter_bytes(folder: Path) -> bytes:
    return (folder / "adapter" / "adapter_model.safetensors").read_bytes()


def steps_kept(config: Config) -> list[str]:
    return [folder.name for folder in checkpoint_folders(config.run_dir / "train" / "checkpoints")]


def recorded_best(config: Config) -> dict[str, Any]:
    exported = config.run_dir / "train" / config.train.result / "pacos.json"
    best: dict[str, Any] = json.loads(exported.read_text())["best"]
    return best


def held_out_examples(config: Config, base: Path) -> list[Example]:
    examples = load_dataset(config, load_tokenizer(str(base), config.model)).examples
    trained = {example.row for step in plan_run(examples, config.train, config.seed).steps for example in step.examples}
    return [example for example in examples if example.row not in trained]


def loss_of(model: Any, examples: list[Example]) -> float:
    """The mean loss of a label, each example alone, without padding and dropout, by transformers' own forward pass."""
    losses: list[float] = []
    for example in examples:
        with torch.no_grad():
            predicted = model.eval()(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
        losses += [-predicted[t - 1, example.ids[t]].item() for t in range(example.prompt_length, len(example.ids))]
    return sum(losses) / len(losses)


def test_the_exported_adapter_is_the_checkpoint_that_peft_finds_best_on_held_out_rows(
    tmp_path: Path, base: Path, few_tasks: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    config = overfitting(tmp_path, base, few_tasks, keep=100)
    metrics = train_here(config)
    folders = checkpoint_folders(config.run_dir / "train" / "checkpoints")
    held_out = held_out_examples(config, base)
    assert len(held_out) == 6
    losses = {}
    for folder in folders:
        untuned = AutoModelForCausalLM.from_pretrained(base)
        losses[folder] = loss_of(PeftModel.from_pretrained(untuned, folder / "adapter"), held_out)
    best = min(losses, key=losses.__getitem__)
    assert best not in (folders[0], folders[-1]), "neither the last step nor the first for this test to mean anything"
    assert adapter_bytes(config.run_dir / "train") == adapter_bytes(best)

    measured = {line["step"]: line["eval_loss"] for line in metrics if line["eval_loss"]}
    assert measured == {int(folder.name[5:]): pytest.approx(loss, rel=1e-4) for folder, loss in losses.items()}
    step = int(best.name[5:])
    assert recorded_best(config) == {"step": step, "eval_loss": measured[step]}
    card = (config.run_dir / "train" / "adapter" / "README.md").read_text()
    assert f"| weights | of step {step}, with the least loss on 6 held-out examples: {measured[step]:.4f} |" in card


def test_without_it_the_last_step_is_exported(tmp_path: Path, base: Path, few_tasks: Path) -> None:
    config = overfitting(tmp_path, base, few_tasks, keep_best=False)
    train_here(config)
    last = checkpoint_folders(config.run_dir / "train" / "checkpoints")[0]
    assert adapter_bytes(config.run_dir / "train") == adapter_bytes(last)
    assert recorded_best(config) is None


def test_a_fully_tuned_model_is_the_best_one_too(tmp_path: Path, base: Path, few_tasks: Path) -> None:
    settings: dict[str, Any] = {"method": "full", "learning_rate": 0.01, "schedule": "constant", "keep": 1}
    config = overfitting(tmp_path, base, few_tasks, **settings)
    train_here(config)
    best = recorded_best(config)["step"]
    assert steps_kept(config)[1:] == [f"step-{best}"], "beside the last one, for this test to mean anything"
    kept = load_file(config.run_dir / f"train/checkpoints/step-{best}/state/weights.safetensors")
    exported = load_file(config.run_dir / "train" / "model" / "model.safetensors")
    assert exported and all(torch.equal(weight, kept[name]) for name, weight in exported.items())


def test_the_best_checkpoint_is_kept_beside_the_newest_and_no_other(whole: Config) -> None:
    measured = {line["step"]: line["eval_loss"] for line in read_metrics(whole) if line["eval_loss"]}
    best = min(measured, key=measured.__getitem__)
    assert steps_kept(whole) == ["step-24", "step-21", f"step-{best}"]


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_run_stopped_around_a_save_keeps_what_an_unbroken_run_keeps(
    tmp_path: Path, whole: Config, base: Path, few_tasks: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between evaluation and save, and right after the save: at the best step, and once more at a later one."""
    unbroken, best = read_metrics(whole), recorded_best(whole)
    stopped = overfitting(tmp_path, base, few_tasks)

    for stop in (best["step"], best["step"] + 6):

        def stop_there(folder: Path, checkpoint: Any, *rest: Any, stop: int = stop) -> Path:
            if moment == "before" and checkpoint.step == stop:
                raise ConnectionAbortedError
            saved = save_checkpoint(folder, checkpoint, *rest)
            if checkpoint.step == stop:
                raise ConnectionAbortedError
            return saved

        with monkeypatch.context() as patch, pytest.raises(ConnectionAbortedError):
            patch.setattr("pacos.train.optimization.loop.save_checkpoint", stop_there)
            train_here(stopped)
        assert read_metrics(stopped)[-1]["eval_loss"], "it was stopped after an evaluation"

    curves = [[(line["loss"], line["eval_loss"]) for line in metrics] for metrics in (train_here(stopped), unbroken)]
    assert curves[0] == curves[1]
    assert recorded_best(stopped) == best
    assert adapter_bytes(stopped.run_dir / "train") == adapter_bytes(whole.run_dir / "train")
    assert steps_kept(stopped) == steps_kept(whole)


def test_two_processes_keep_the_step_that_one_keeps(
    tmp_path: Path, base: Path, few_tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    # Dropout draws other noise in each process.
    lora = {"r": 32, "alpha": 64}
    alone = overfitting(tmp_path, base, few_tasks, "alone", lora=lora)
    train_here(alone)
    together = overfitting(tmp_path, base, few_tasks, "together", lora=lora, processes=2)
    launch.main(together)
    best = recorded_best(alone)
    assert recorded_best(together) == {"step": best["step"], "eval_loss": pytest.approx(best["eval_loss"], abs=1e-5)}
    assert best["step"] < 24, "not the last step, for this test to mean anything"
    kept = together.run_dir / "train" / "checkpoints" / f"step-{best['step']}"
    assert adapter_bytes(together.run_dir / "train") == adapter_bytes(kept)


def test_a_damaged_best_checkpoint_stops_the_export_until_training_is_repeated_from_before_it(
    tmp_path: Path, whole: Config, base: Path, few_tasks: Path
) -> None:
    config = overfitting(tmp_path, base, few_tasks)
    copy_unfinished(whole, config)
    finished, best = adapter_bytes(whole.run_dir / "train"), recorded_best(whole)["step"]
    checkpoints = config.run_dir / "train" / "checkpoints"
    (checkpoints / f"step-{best}" / "state" / "optimizer.safetensors").unlink()
    with pytest.raises(RunError, match=r"least held-out loss cannot be used: state/optimizer\.safetensors is missing"):
        train_here(config)
    assert not (config.run_dir / "train" / "adapter").exists()
    for folder in checkpoint_folders(checkpoints):
        if int(folder.name[5:]) >= best:
            shutil.rmtree(folder)
    train_here(config)
    assert adapter_bytes(config.run_dir / "train") == finished


def test_no_held_out_rows_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train.*keep_best.*set eval_examples"):
        training_config(tmp_path, tmp_path, tmp_path, keep_best=True)


def test_resuming_with_other_evaluations_is_refused(tmp_path: Path, whole: Config, base: Path, few_tasks: Path) -> None:
    config = overfitting(tmp_path, base, few_tasks, save_steps=2)
    copy_unfinished(whole, config)
    with pytest.raises(RunError, match="another save_steps;"):
        train_here(config)


def test_a_run_without_it_has_the_recipe_of_runs_that_were_made_before_there_was_such_a_key(
    tmp_path: Path, base: Path, few_tasks: Path
) -> None:
    assert not {"keep_best", "save_steps"} & recipe(training_config(tmp_path, base, few_tasks)).keys()


def test_a_held_out_loss_that_is_not_finite_stops_the_run(tmp_path: Path, base: Path, few_tasks: Path) -> None:
    config = overfitting(tmp_path, base, few_tasks, learning_rate=1e30, warmup_ratio=0.0, save_steps=1)
    with pytest.raises(TrainingError, match=r"step 1: the loss on the held-out examples is (nan|inf)"):
        train_here(config)
    assert not checkpoint_folders(config.run_dir / "train" / "checkpoints")
