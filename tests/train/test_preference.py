"""DPO: TRL is the oracle of loss, rewards and curve; the starting adapter is its reference, as ours."""

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pacos.config import Config, ModelConfig, TrainConfig
from pacos.errors import ConfigError, DataError, ModelError
from pacos.models import load_tokenizer
from pacos.results.training import Provenance
from pacos.train import launch
from pacos.train.attention.dispatch import attention_for
from pacos.train.data.examples import Example
from pacos.train.data.pairs import encode_pairs, parse_pair
from pacos.train.data.tokenized import load_dataset
from pacos.train.model.load import load_model
from pacos.train.model.start import resolve_start
from pacos.train.optimization import reference
from pacos.train.optimization.losses import DPOLoss
from pacos.train.packing.batch import collate
from pacos.train.packing.plan import step_indices
from tests.support.small_training import read_metrics, train_here, training_config, write_pairs, write_tasks
from tests.support.tiny_llama import build_tiny_llama

SETTINGS = {"objective": "dpo", "epochs": 3, "batch_size": 8, "warmup_ratio": 0.0, "min_lr_ratio": 0.1}
FIGURES = ["rewards/chosen", "rewards/rejected", "rewards/margins", "logps/chosen", "logps/rejected"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pairs(tmp_path_factory.mktemp("pairs") / "pairs.jsonl")


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Path:
    """M_1: a trained adapter, from which preference training starts."""
    folder = tmp_path_factory.mktemp("tuned")
    config = training_config(folder, tiny_base, write_tasks(folder / "tasks.jsonl", 16), "tuned", epochs=1)
    train_here(config)
    return config.run_dir / "train" / "adapter"


def dpo_config(folder: Path, base: Path, pairs: Path, tuned: Path, name: str = "dpo", **changes: Any) -> Config:
    settings = {"adapter": str(tuned), "learning_rate": 0.01} | SETTINGS
    return training_config(folder, base, pairs, name, **settings | changes)


def trl_curve(config: Config, folder: Path) -> list[dict[str, Any]]:
    """TRL's DPOTrainer on the same pairs in the same order, padded, the starting adapter copied as its reference."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from trl import DPOConfig, DPOTrainer  # type: ignore[attr-defined]

    tokenizer = load_tokenizer(config.model.base, config.model)
    tokenizer.pad_token = tokenizer.eos_token
    examples = load_dataset(config, tokenizer).examples
    count = len(examples) // 2
    order = [index for step in range(9) for index in step_indices(count, config.train, config.seed, step)]
    rows = [
        {
            "prompt_ids": examples[2 * index].ids[: examples[2 * index].prompt_length],
            "chosen_ids": examples[2 * index].ids[examples[2 * index].prompt_length :],
            "rejected_ids": examples[2 * index + 1].ids[examples[2 * index + 1].prompt_length :],
        }
        for index in order
    ]

    class InOrder(DPOTrainer):
        def _prepare_dataset(self, dataset: Dataset, *_: object) -> Dataset:
            return dataset

        def _get_train_sampler(self, *_: object) -> SequentialSampler:
            return SequentialSampler(rows)

    arguments = DPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=config.train.batch_size,
        num_train_epochs=1,
        learning_rate=float(config.train.learning_rate),
        lr_scheduler_type="constant",
        max_grad_norm=config.train.max_grad_norm,
        beta=config.train.dpo.beta,
        optim="adamw_torch",
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        report_to="none",
    )
    model = load_model(config, torch.device("cpu"))
    trainer = InOrder(model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer)
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line]


def test_loss_and_rewards_equal_those_of_trl_from_the_same_adapter(
    tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    config = dpo_config(tmp_path, tiny_base, pairs, tuned, schedule="constant")
    ours, theirs = train_here(config), trl_curve(config, tmp_path / "trl")
    assert len(ours) == len(theirs) == 9
    assert ours[0]["loss"] == pytest.approx(math.log(2), abs=1e-4), "policy and reference begin as one"
    assert ours[-1]["loss"] < 0.6, "the curve that is compared must move"
    for name in ["loss", *FIGURES]:
        assert [line[name] for line in ours] == pytest.approx([line[name] for line in theirs], abs=1e-4), name
    accuracies = [[line["rewards/accuracies"] for line in lines[1:]] for lines in (ours, theirs)]
    assert accuracies[0] == accuracies[1], "before the first step both rewards are zero, to rounding"
    assert [line["grad_norm"] for line in ours] == pytest.approx([line["grad_norm"] for line in theirs], rel=1e-3)


def test_the_loss_follows_the_published_formula_with_smoothed_labels(
    tiny_base: Path, tmp_path: Path, tuned: Path, pairs: Path
) -> None:
    config = dpo_config(tmp_path, tiny_base, pairs, tuned)
    cpu = torch.device("cpu")
    model = load_model(config, cpu, attention_for(config, cpu))
    pair = [
        Example("p:1", [1, 40, 41, 42, 2], 2, reference_logp=-9.0),
        Example("p:1", [1, 40, 50, 2], 2, reference_logp=-8.0),
    ]
    logps = []
    for example in pair:
        predicted = model(input_ids=torch.tensor([example.ids])).logits[0].log_softmax(-1)
        logps.append(sum(predicted[t - 1, example.ids[t]].item() for t in range(2, len(example.ids))))
    margin = 0.3 * ((logps[0] + 9.0) - (logps[1] + 8.0))
    expected = 0.9 * math.log1p(math.exp(-margin)) + 0.1 * math.log1p(math.exp(margin))
    batch = collate([pair], 128, pad_id=2)
    loss, figures = DPOLoss(0.3, 0.1).sums(model, batch, pair)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    assert figures[2].item() == pytest.approx(margin, rel=1e-4)


def test_a_resumed_run_keeps_its_reference(
    tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = dpo_config(
        tmp_path, tiny_base, pairs, tuned, save_steps=4, keep=9, lora={"r": 8, "alpha": 16, "dropout": 0.1}
    )
    whole = train_here(config)
    train = config.run_dir / "train"
    weights = (train / "adapter" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(train / "adapter")
    shutil.rmtree(train / "checkpoints" / "step-9")
    asked = []
    monkeypatch.setattr(reference, "reference_logps", lambda *_: asked.append(1))
    train_here(config)
    assert not asked, "it was cached"
    assert [line["loss"] for line in read_metrics(config)] == [line["loss"] for line in whole]
    assert (train / "adapter" / "adapter_model.safetensors").read_bytes() == weights


def test_the_reference_is_cached_by_the_weights_and_responses_it_was_made_from(
    tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path
) -> None:
    config = dpo_config(tmp_path, tiny_base, pairs, tuned)
    origin = Provenance("base", "b", "c", "alpaca", "", "", "a")
    others: list[dict[str, Any]] = [{"dataset_sha256": "x"}, {"base_sha256": "x"}, {"start_sha256": "x"}]
    one = reference.reference_sha256(config, origin)
    assert all(reference.reference_sha256(config, replace(origin, **other)) != one for other in others)


def test_packs_shared_prompts_and_processes_do_not_change_the_loss(
    tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    wide = train_here(dpo_config(tmp_path, tiny_base, pairs, tuned, "wide", pack_tokens=4096))
    narrow = train_here(dpo_config(tmp_path, tiny_base, pairs, tuned, "narrow", pack_tokens=512, eval_examples=4))
    together = dpo_config(tmp_path, tiny_base, pairs, tuned, "together", pack_tokens=512, processes=2)
    launch.main(together)
    for name in ("loss", "rewards/margins", "grad_norm"):
        found = [line[name] for line in read_metrics(together)]
        assert found == pytest.approx([line[name] for line in wide], abs=1e-4), name
    assert [line["examples"] for line in wide] == [8] * 9, "pairs are counted"
    assert all(line["computed_tokens"] < 0.8 * line["tokens"] for line in wide), "a prompt is computed once for both"
    assert narrow[-1]["eval_loss"] > 0 and 0 <= narrow[-1]["eval_rewards/accuracies"] <= 1
    assert narrow[0]["eval_rewards/margins"] == 0.0, "one set of keys in every line"


def test_an_adapter_that_does_not_fit_the_run_is_refused_by_the_key_to_change(
    tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path
) -> None:
    def refused(error: type[Exception], message: str, base: Path = tiny_base, **changes: Any) -> None:
        config = dpo_config(tmp_path, base, pairs, tuned, **changes)
        with pytest.raises(error, match=message):
            resolve_start(config)
            load_model(config, "cpu")

    refused(ConfigError, r"train\.lora\.r: 4 does not match .*\n.*set it to 8", lora={"r": 4, "alpha": 16})
    refused(ConfigError, r"train\.lora\.alpha", lora={"r": 8, "alpha": 8})
    refused(ConfigError, r"train\.lora\.targets", lora={"r": 8, "alpha": 16, "targets": ["q_proj"]})
    refused(ModelError, r"set train\.template=alpaca", template="self-instruct")
    refused(ModelError, "trained on other weights", build_tiny_llama(tmp_path / "other", seed=1))
    refused(ModelError, "holds no adapter", adapter=str(tmp_path))


def test_settings_that_contradict_preferences_are_refused_at_once(
    tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path
) -> None:
    with pytest.raises(ConfigError, match="mask_prompt must be true"):
        dpo_config(tmp_path, tiny_base, pairs, tuned, mask_prompt=False)
    with pytest.raises(ConfigError, match="superni has none"):
        dpo_config(tmp_path, tiny_base, pairs, tuned, data=[{"superni": "x"}])
    config = dpo_config(tmp_path, tiny_base, pairs, tuned, max_length=257)
    with pytest.raises(ConfigError, match="a pair of answers"):
        load_dataset(config, load_tokenizer(str(tiny_base), config.model))


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"instruction": "Go.", "chosen": "a"}, "`rejected` is missing"),
        ({"instruction": "Go.", "chosen": "a", "rejected": [{"role": "assistant"}]}, "`rejected` must be text"),
        ({"chosen": "a", "rejected": "b"}, "a pair has either an `instruction` or a complete `prompt`"),
        ({"instruction": "Go.", "prompt": "Go", "chosen": "a", "rejected": "b"}, "a pair has either"),
    ],
)
def test_a_row_that_is_not_a_pair_is_named(row: dict[str, Any], complaint: str) -> None:
    with pytest.raises(DataError, match=f"pairs:7: {complaint}"):
        parse_pair(row, where="pairs:7")


def test_a_pair_is_dropped_as_a_whole_and_counted(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base), ModelConfig(base=str(tiny_base)))
    rows = [
        {"prompt": "One", "chosen": "a", "rejected": "b"},
        {"prompt": "One", "chosen": "the same", "rejected": "the same"},
        {"prompt": "1 " * 40, "chosen": "a", "rejected": "b"},
        {"prompt": "One", "chosen": "1 " * 60, "rejected": "b"},
    ]
    named = [(f"pairs:{number}", parse_pair(row, where="")) for number, row in enumerate(rows)]
    dataset = encode_pairs(named, tokenizer, TrainConfig(objective="dpo", max_length=32))
    assert [example.row for example in dataset.examples] == ["pairs:0"] * 2 + ["pairs:3"] * 2
    assert (dataset.rows, dataset.identical, dataset.dropped, dataset.truncated) == (4, 1, 1, 1)
    prompt = tokenizer("One")["input_ids"]
    assert all(example.ids[: example.prompt_length] == prompt for example in dataset.examples), (
        "a complete prompt stays as it is"
    )


def test_the_adapter_it_started_from_is_recorded(tmp_path: Path, tiny_base: Path, pairs: Path, tuned: Path) -> None:
    config = dpo_config(tmp_path, tiny_base, pairs, tuned, max_steps=2)
    plan = "\n".join(launch.plan(config))
    assert f"starting from the adapter {tuned}" in plan and "steps of 8 pairs" in plan
    train_here(config)
    adapter = config.run_dir / "train" / "adapter"
    assert len(json.loads((adapter / "pacos.json").read_text())["start_sha256"]) == 64
    card = (adapter / "README.md").read_text()
    assert "DPO against the model it started from, beta 0.1" in card and "pairs per step" in card
    inputs = json.loads((config.run_dir / "manifest.json").read_text())["stages"]["train"]["inputs"]
    assert str(tuned / "adapter_model.safetensors") in [file["path"] for file in inputs]
    moved, start = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, tuned))
    assert moved.keys() == start.keys() and all(not torch.equal(moved[name], start[name]) for name in moved)
