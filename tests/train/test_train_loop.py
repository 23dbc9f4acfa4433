import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from pacos.config import Config, TrainConfig
from pacos.errors import TrainingError
from pacos.models import load_tokenizer
from pacos.train.data.tokenized import load_dataset
from pacos.train.model.load import load_model
from pacos.train.optimization.loop import learning_rate
from pacos.train.packing.plan import plan_run, step_indices, total_steps
from tests.conftest import ROOT
from tests.support.small_training import train_here, training_config, write_tasks


def losses(metrics: list[dict[str, Any]]) -> list[float]:
    return [line["loss"] for line in metrics]


def test_warm_up_and_decay_follow_the_published_schedule() -> None:
    train = TrainConfig(learning_rate=1.0, warmup_ratio=0.1, schedule="cosine")
    rates = [learning_rate(step, 40, train) for step in range(40)]
    assert rates[:5] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert rates[22] == pytest.approx(0.5) and rates[39] == pytest.approx((1 + math.cos(math.pi * 35 / 36)) / 2)
    linear = train.model_copy(update={"schedule": "linear"})
    assert learning_rate(22, 40, linear) == pytest.approx(0.5) and learning_rate(39, 40, linear) == pytest.approx(
        1 / 36
    )
    assert learning_rate(39, 40, train.model_copy(update={"schedule": "constant"})) == 1.0
    floor = linear.model_copy(update={"min_lr_ratio": 0.2})
    assert learning_rate(4, 40, floor) == 1.0 and learning_rate(22, 40, floor) == pytest.approx(0.6)


def test_a_run_of_one_step_has_no_warm_up_to_waste_it_on() -> None:
    assert learning_rate(0, 1, TrainConfig(learning_rate=1.0)) == 1.0


def trainer_curve(config: Config, folder: Path) -> list[dict[str, Any]]:
    """transformers' own Trainer on the same model and batches: padded, with its own loss, schedule and clipping.

    The rows of all epochs are its one epoch."""
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments

    tokenizer = load_tokenizer(config.model.base, config.model)
    examples = load_dataset(config, tokenizer).examples
    steps = total_steps(len(examples), config.train)
    order = [index for step in range(steps) for index in step_indices(len(examples), config.train, config.seed, step)]
    rows = [
        {
            "ids": examples[i].ids,
            "labels": [-100] * examples[i].prompt_length + examples[i].ids[examples[i].prompt_length :],
        }
        for i in order
    ]

    def pad(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["ids"]) for row in batch)
        missing = [width - len(row["ids"]) for row in batch]
        return {
            "input_ids": torch.tensor([row["ids"] + [0] * n for row, n in zip(batch, missing, strict=True)]),
            "attention_mask": torch.tensor(
                [[1] * len(row["ids"]) + [0] * n for row, n in zip(batch, missing, strict=True)]
            ),
            "labels": torch.tensor([row["labels"] + [-100] * n for row, n in zip(batch, missing, strict=True)]),
        }

    class InOrder(Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, *_: object) -> SequentialSampler:
            return SequentialSampler(rows)

    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=config.train.batch_size // 2,
        num_train_epochs=1,
        learning_rate=float(config.train.learning_rate),
        lr_scheduler_type="cosine",
        warmup_steps=config.train.warmup_ratio,
        weight_decay=config.train.weight_decay,
        max_grad_norm=config.train.max_grad_norm,
        optim="adamw_torch",
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        remove_unused_columns=False,
        disable_tqdm=True,
    )
    trainer = InOrder(
        model=load_model(config, torch.device("cpu")), args=arguments, train_dataset=rows, data_collator=pad
    )
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


def test_the_loss_curve_equals_that_of_transformers_trainer(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    settings: dict[str, Any] = {"epochs": 3, "warmup_ratio": 0.2, "weight_decay": 0.1, "max_grad_norm": 0.2}
    config = training_config(tmp_path, tiny_base, tasks, **settings)
    ours = train_here(config)
    theirs = trainer_curve(config, tmp_path / "trainer")
    assert len(ours) == len(theirs) == 15
    assert [line["learning_rate"] for line in ours] == pytest.approx([line["learning_rate"] for line in theirs])
    assert losses(ours) == pytest.approx(losses(theirs), abs=1e-5)
    assert [line["grad_norm"] for line in ours] == pytest.approx([line["grad_norm"] for line in theirs], rel=1e-3)
    assert ours[-1]["loss"] < ours[0]["loss"] - 0.2, "the curve that is compared must move"


def test_packing_and_accumulation_do_not_change_the_loss(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    narrow = train_here(training_config(tmp_path, tiny_base, tasks, "narrow", max_length=200, pack_tokens=200))
    wide = train_here(training_config(tmp_path, tiny_base, tasks, "wide", max_length=200, pack_tokens=4096))
    assert losses(narrow) == pytest.approx(losses(wide), abs=1e-5)
    assert all(line["fill"] <= 1 for line in narrow)
    assert [line["tokens"] for line in narrow] == [line["tokens"] for line in wide], "padding is not work"


def test_recomputed_activations_do_not_change_the_loss(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    plain = train_here(training_config(tmp_path, tiny_base, tasks, "plain", max_steps=4))
    recomputed = train_here(training_config(tmp_path, tiny_base, tasks, "recomputed", max_steps=4, checkpointing=True))
    assert losses(plain) == pytest.approx(losses(recomputed), abs=1e-6)


def test_metrics_count_examples_and_real_tokens(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    config = training_config(tmp_path, tiny_base, tasks, epochs=1, batch_size=16)
    metrics = train_here(config)
    dataset = load_dataset(config, load_tokenizer(str(tiny_base), config.model))
    assert [line["examples"] for line in metrics] == [16, 16, 8]
    assert [line["epoch"] for line in metrics] == [0.3333, 0.6667, 1.0]
    assert sum(line["tokens"] for line in metrics) == dataset.tokens
    assert sum(line["response_tokens"] for line in metrics) == dataset.response_tokens
    assert all(line["mfu"] == 0.0 for line in metrics), "the peak of a CPU is unknown"
    stage = json.loads((config.run_dir / "manifest.json").read_text())["stages"]["train"]
    assert stage["status"] == "done"
    assert stage["tokens"]["completion"] == dataset.response_tokens
    assert sum(stage["tokens"].values()) == dataset.tokens


def test_the_held_out_loss_is_a_mean_over_tokens_of_examples_that_are_not_trained_on(
    tmp_path: Path, tiny_base: Path, tasks: Path
) -> None:
    config = training_config(tmp_path, tiny_base, tasks, epochs=1, eval_examples=9, save_steps=3)
    metrics = train_here(config)
    assert sum(line["examples"] for line in metrics) == 40 - 9
    assert [bool(line["eval_loss"]) for line in metrics] == [False, False, True, True]
    # The finished adapter on every example alone: the plan tells which were trained on.
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_base), config.run_dir / "train/adapter")
    examples = load_dataset(config, load_tokenizer(str(tiny_base), config.model)).examples
    trained = {example.row for step in plan_run(examples, config.train, config.seed).steps for example in step.examples}
    held_out = [example for example in examples if example.row not in trained]
    losses = []
    for example in held_out:
        with torch.no_grad():
            predicted = model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
        losses += [-predicted[t - 1, example.ids[t]].item() for t in range(example.prompt_length, len(example.ids))]
    assert len(held_out) == 9
    assert metrics[-1]["eval_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def broken_at(base: Path, word: str, folder: Path) -> Path:
    """A copy of the base whose embedding of `word`'s first piece is NaN."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model: Any = AutoModelForCausalLM.from_pretrained(base)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    with torch.no_grad():
        model.get_input_embeddings().weight[tokenizer(word, add_special_tokens=False)["input_ids"][0]] = math.nan
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_row(tmp_path: Path, tiny_base: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 24)
    lines = tasks.read_text().splitlines()
    lines[16] = json.dumps({"instruction": "Say it to a lazy dog and a fox.", "output": "~ the quick brown fox"})
    tasks.write_text("\n".join(lines) + "\n")
    base = broken_at(tiny_base, "~", tmp_path / "broken")
    config = training_config(tmp_path, base, tasks)
    with pytest.raises(TrainingError, match=r"caused by tasks\.jsonl:17\n"):
        train_here(config)
    assert not (config.run_dir / "train" / "adapter").exists()
    assert not list((config.run_dir / "train").glob("checkpoints/step-*"))
    assert "NaN" not in (config.run_dir / "train" / "metrics.jsonl").read_text()
    assert json.loads((config.run_dir / "manifest.json").read_text())["stages"]["train"]["status"] == "failed"


def test_too_little_memory_is_an_error_with_a_way_out(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr("pacos.train.optimization.losses.token_losses", fail)
    with pytest.raises(TrainingError, match=r"train\.pack_tokens=256 or train\.checkpointing=true"):
        train_here(training_config(tmp_path, tiny_base, tasks))


def test_a_base_that_is_broken_to_begin_with_is_refused(tmp_path: Path, tiny_base: Path, tasks: Path) -> None:
    base = broken_at(tiny_base, "Below", tmp_path / "broken")
    with pytest.raises(TrainingError, match=r"not finite on tasks\.jsonl:\d+, untrained"):
        train_here(training_config(tmp_path, base, tasks))


def test_a_finished_run_is_not_trained_again_until_something_changes(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 8)
    config = training_config(tmp_path, tiny_base, tasks)
    train_here(config)
    written = (config.run_dir / "train" / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns
    with caplog.at_level("INFO", logger="pacos"):
        train_here(config)
    assert "done already" in caplog.text
    assert (config.run_dir / "train" / "adapter" / "adapter_model.safetensors").stat().st_mtime_ns == written


def test_the_stage_needs_no_library_of_the_other_stages() -> None:
    code = "import sys, pacos.train.pipeline, pacos.train.__main__; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"aiohttp", "rapidfuzz", "vllm", "datasets", "torch", "transformers"} & set(loaded.stdout.split())
