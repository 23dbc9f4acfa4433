"""The recipes in configs/ are those that they say they are, and take nothing from a preset unseen."""

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pacos.config import Config, TrainConfig, load_config
from pacos.generate.presets import preset
from pacos.train.optimization.loop import learning_rate
from pacos.train.packing.plan import total_steps

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
SELF_REWARDING = ("self-rewarding-8b", "self-rewarding-70b")


def config(name: str) -> Config:
    return load_config(CONFIGS / f"{name}.yaml")


def written(name: str) -> dict[str, Any]:
    """What the file itself says, without defaults and presets."""
    values: dict[str, Any] = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"))
    return values


def rates(train: TrainConfig, steps: int) -> list[float]:
    return [learning_rate(step, steps, train) for step in range(steps)]


def transformers_rates(kind: str, peak: float, warmup: int, steps: int) -> list[float]:
    """The rates of transformers' own scheduler."""
    from transformers import get_scheduler

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=peak)
    scheduler = get_scheduler(kind, optimizer, num_warmup_steps=warmup, num_training_steps=steps)
    found = []
    for _ in range(steps):
        found.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    return found


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_recipe_is_a_valid_experiment_of_its_own_name(path: Path) -> None:
    assert load_config(path).name == path.stem


def test_alpaca_loras_official_adapter() -> None:
    """tloen/alpaca-lora: the README's command for the official adapter, and finetune.py's defaults."""
    train = config("alpaca-7b-lora").train
    lora = train.lora
    assert (lora.r, lora.alpha, lora.dropout) == (16, 16, 0.05)
    assert lora.targets == ["q_proj", "k_proj", "v_proj", "o_proj"]
    assert (train.epochs, train.batch_size, train.max_length, train.weight_decay) == (10, 128, 512, 0.0)
    assert (train.eval_examples, train.save_steps, train.keep_best, train.keep + 1) == (2000, 200, True, 3)
    steps = total_steps(52_000 - 2_000, train)
    assert steps == 3_910
    assert rates(train, steps) == pytest.approx(transformers_rates("linear", 3e-4, 100, steps))


def test_stanford_alpacas_full_fine_tuning() -> None:
    """tatsu-lab/stanford_alpaca: the README's command for 7B."""
    train = config("alpaca-7b").train
    assert (train.method, train.epochs, train.batch_size, train.max_length) == ("full", 3, 128, 512)
    steps = total_steps(52_000, train)
    # Trainer rounds warm-up steps up.
    assert rates(train, steps) == pytest.approx(transformers_rates("cosine", 2e-5, -(-3 * steps // 100), steps))


@pytest.mark.parametrize("name", ["llama-3.1-8b-instruct-lora", "qwen3-8b-lora"])
def test_chat_recipes_train_on_conversations_and_are_scored_as_chats(name: str) -> None:
    """huggingface/alignment-handbook: recipes/zephyr-7b-beta/sft/config_qlora.yaml, but for alpha and dropout."""
    train, suites = config(name).train, config(name).evaluate.suites
    assert (train.template, train.learn, train.objective, train.method) == ("chat", "all_turns", "sft", "lora")
    assert [(source.hub, source.split) for source in train.data] == [("HuggingFaceH4/ultrachat_200k", "train_sft")]
    assert (train.lora.r, train.lora.dropout, train.lora.targets) == (16, 0.0, "all-linear")
    assert train.lora == config("llama-3.1-8b-lora").train.lora
    assert (train.epochs, train.max_length, train.eval_examples) == (1, 2048, 1000)
    steps = total_steps(10_000, train)
    assert rates(train, steps) == pytest.approx(transformers_rates("cosine", 2e-4, -(-steps // 10), steps))
    assert suites[0].prompt == "chat"


def test_the_recipe_for_qwen3_trains_in_a_template_without_thoughts() -> None:
    from pacos.chat_templates import CHAT_TEMPLATES

    name = config("qwen3-8b-lora").train.chat_template
    assert name in CHAT_TEMPLATES and "think" not in CHAT_TEMPLATES[name]


@pytest.mark.parametrize("name", ["alpaca-7b-lora", "alpaca-7b"])
def test_alpacas_tasks_are_asked_for_and_filtered_by_its_own_rules(name: str) -> None:
    generate = config(name).generate
    assert (generate.preset, generate.filters.preset, generate.filters.defects) == ("alpaca-original", "alpaca", False)
    assert (generate.sampling.temperature, generate.sampling.top_p) == (1.0, 1.0)


def test_self_instructs_published_run() -> None:
    """2212.10560, section 3.1 and table 4, whose top_p 0 is temperature 0 here; self-instruct finetune_gpt3.sh."""
    generate, train = config("self-instruct-7b-lora").generate, config("self-instruct-7b-lora").train
    lists, classify, instances = generate.sampling, generate.classify, generate.instances
    assert (lists.temperature, lists.top_p, lists.presence_penalty, lists.max_tokens) == (0.7, 0.5, 2.0, 1024)
    assert (classify.temperature, classify.presence_penalty, classify.max_tokens) == (0.0, 0.0, 3)
    assert (instances.temperature, instances.presence_penalty, instances.max_tokens) == (0.0, 1.5, 300)
    assert (generate.target, generate.filters.defects) == (52_445, False)
    assert (train.template, train.epochs) == ("self-instruct", 2)


@pytest.mark.parametrize("name", SELF_REWARDING)
def test_self_rewarding_has_the_values_that_its_sources_agree_on(name: str) -> None:
    experiment = config(name)
    sft, dpo = experiment.loop.sft, experiment.train
    assert isinstance(sft.learning_rate, float) and isinstance(dpo.learning_rate, float)
    # At ten times the published rates, for LoRA: 5.5e-6 to 1.1e-6, and 1e-6 to 1e-7.
    assert (sft.learning_rate, sft.learning_rate * sft.min_lr_ratio) == pytest.approx((5.5e-5, 1.1e-5))
    assert (dpo.learning_rate, dpo.learning_rate * dpo.min_lr_ratio) == pytest.approx((1e-5, 1e-6))
    assert (sft.schedule, dpo.schedule) == ("cosine", "linear")
    assert {sft.batch_size, dpo.batch_size} == {16} and {sft.lora.dropout, dpo.lora.dropout} == {0.1}
    assert sft.mask_prompt and dpo.dpo.beta == 0.1
    answers, judge = experiment.answers, experiment.evaluate.judge
    assert (answers.samples, answers.temperature, answers.top_p) == (4, 0.7, 0.9)
    assert (judge.samples, judge.temperature, judge.top_p) == (3, 0.7, 0.9)


@pytest.mark.parametrize("name", SELF_REWARDING)
def test_self_rewarding_takes_neither_penalties_nor_classification_from_self_instruct(name: str) -> None:
    generate, said = config(name).generate, written(name)["generate"]
    assert said["sampling"].keys() >= {"temperature", "top_p", "presence_penalty"} <= said["instances"].keys()
    assert {generate.sampling.presence_penalty, generate.instances.presence_penalty} == {0.0}
    assert preset(generate.preset).phases == ("instances",)
    assert generate.seeds_per_request + generate.machine_per_request == 8
    assert (generate.filters.preset, generate.filters.novelty) == ("self-instruct", 0.7)
