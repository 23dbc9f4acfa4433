"""Losses of conversations: packed as one at a time, and curves as those of TRL and of transformers' Trainer."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from pacos.chat_templates import training_tokenizer
from pacos.config import Config
from pacos.train.data.examples import Example
from pacos.train.data.tokenized import load_dataset
from pacos.train.model.load import load_model
from pacos.train.packing.batch import collate_padded
from pacos.train.packing.padded import pad
from pacos.train.packing.plan import step_indices, total_steps
from tests.support.small_training import WORDS, chat_config, train_here
from tests.train.test_batch import exact_norm, loss_and_gradients, packed, tiny_model, worst

# What each message becomes; the tags are TRL's, and nothing to pacos.
TAGGED = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}A:{% generation %}"
    "{{ ' ' + m.content + eos_token }}{% endgeneration %}{{ '\n' }}{% else %}{{ m.role + ': ' + m.content + '\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
)


def conversations(count: int, *, seed: int = 0) -> list[dict[str, Any]]:
    """Of one to three questions and answers; every second has the same system text."""
    draw = random.Random(seed)

    def text() -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, 8)))

    rows = []
    for number in range(count):
        turns = [{"role": role, "content": text()} for _ in range(draw.randint(1, 3)) for role in ("user", "assistant")]
        system = [{"role": "system", "content": "the quick brown fox jumps over a lazy dog " * 3}] * (number % 2)
        rows.append({"messages": system + turns})
    return rows


def tagged_config(folder: Path, base: Path, rows: list[dict[str, Any]], **train: Any) -> Config:
    (folder / "template.jinja").write_text(TAGGED, encoding="utf-8")
    return chat_config(folder, base, rows, chat_template=str(folder / "template.jinja"), **train)


def in_turns(count: int, longest: int = 24) -> list[Example]:
    """Examples with one to three spans of labels; most share a prefix, which may hold a whole span."""
    draw = random.Random(2)
    made = []
    for number in range(count):
        prefix = [[3, 1, 4, 1, 5], [2, 7, 1], []][number % 3]
        ids = prefix + [draw.randrange(64) for _ in range(draw.randint(7, longest))]
        places = sorted(draw.sample(range(1, len(ids)), draw.choice([2, 4, 6])))
        spans = list(zip(places[::2], places[1::2], strict=True))
        made.append(replace(Example.of_spans(f"rows:{number}", ids, spans), prefix_length=len(prefix)))
    return [one if len(one.ids) > one.prefix_length else replace(one, prefix_length=0) for one in made]


def one_at_a_time(model: Any, rows: list[Example]) -> tuple[float, list[torch.Tensor]]:
    """Each example alone by transformers' own loss, with -100 wherever no answer is."""
    model.zero_grad()
    total = 0.0
    for example in rows:
        labels = torch.full((1, len(example.ids)), -100)
        for first, last in example.label_spans:
            labels[0, first:last] = torch.tensor(example.ids[first:last])
        logits = model(input_ids=torch.tensor([example.ids]), use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits[0, :-1], labels[0, 1:], reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total, [weight.grad.clone() for weight in model.parameters() if weight.requires_grad]


def test_several_answers_in_a_pack_have_the_losses_and_gradients_of_each_example_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaRMSNorm.forward", exact_norm)
    model, rows = tiny_model(), in_turns(24)
    assert any(one.gaps for one in rows) and any(one.prefix_length for one in rows)
    expected, gradients = one_at_a_time(model, rows)
    loss, found = loss_and_gradients(model, packed(rows, 128))
    assert loss == pytest.approx(expected, rel=1e-12) and worst(found, gradients) < 1e-12
    layout = pad([(one,) for one in rows], 128, 1)
    padded = [collate_padded([rows[index] for [index] in group], 0) for group in layout.micro_batches[0]]
    loss, found = loss_and_gradients(model, padded)
    assert loss == pytest.approx(expected, rel=1e-12) and worst(found, gradients) < 1e-12


def test_labels_are_those_of_generation_tags(tmp_path: Path, tiny_base: Path) -> None:
    rows = conversations(12)
    config = tagged_config(tmp_path, tiny_base, rows)
    tokenizer = training_tokenizer(config)
    examples = load_dataset(config, tokenizer).examples
    assert len(examples) == len(rows)
    for example, row in zip(examples, rows, strict=True):
        tagged = tokenizer.apply_chat_template(row["messages"], return_dict=True, return_assistant_tokens_mask=True)
        masked = [place for place, kept in enumerate(tagged["assistant_masks"]) if kept]
        assert tagged["input_ids"][: len(example.ids)] == example.ids
        assert [place for first, last in example.label_spans for place in range(first, last)] == masked


def trl_losses(config: Config, rows: list[dict[str, Any]], folder: Path) -> list[float]:
    """TRL's SFTTrainer with `assistant_only_loss` on the messages themselves, padded, in our order."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    steps = total_steps(len(rows), config.train)
    order = [index for step in range(steps) for index in step_indices(len(rows), config.train, config.seed, step)]

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, *_: object) -> SequentialSampler:
            return SequentialSampler(order)

    tokenizer = training_tokenizer(config)
    tokenizer.pad_token = tokenizer.eos_token
    arguments = SFTConfig(
        output_dir=str(folder),
        assistant_only_loss=True,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=config.train.batch_size // 2,
        num_train_epochs=1,
        learning_rate=float(config.train.learning_rate),
        lr_scheduler_type="cosine",
        warmup_steps=config.train.warmup_ratio,
        max_grad_norm=config.train.max_grad_norm,
        max_length=None,
        optim="adamw_torch",
        logging_steps=1,
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = InOrder(
        model=load_model(config, torch.device("cpu")),
        args=arguments,
        train_dataset=Dataset.from_list([rows[index] for index in order]),
        processing_class=tokenizer,
    )
    trainer.train()
    return [line["loss"] for line in trainer.state.log_history if "loss" in line]


def test_fifty_steps_have_the_losses_of_trl_and_transformers_trainer(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SFTTrainer is transformers' Trainer with labels of the tags."""
    monkeypatch.setattr("pacos.train.export.probe.LIMITS", range(8, 9))
    rows = conversations(40)
    settings: dict[str, Any] = {"epochs": 5, "batch_size": 4, "learning_rate": 1e-3, "warmup_ratio": 0.1}
    config = tagged_config(tmp_path, tiny_base, rows, **settings)
    ours = [line["loss"] for line in train_here(config)]
    theirs = trl_losses(config, rows, tmp_path / "trl")
    assert len(ours) == len(theirs) == 50
    assert ours == pytest.approx(theirs, abs=1e-5)
    adapter = config.run_dir / "train" / "adapter"
    assert (adapter / "chat_template.jinja").read_text(encoding="utf-8") == TAGGED
