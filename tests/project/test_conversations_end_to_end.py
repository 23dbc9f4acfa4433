"""SmolLM2 tuned on conversations that are composed of pacos's own seed tasks: every turn is supervised, and the adapter
chats as it was trained."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, parse_config
from pacos.records import Task
from pacos.seeds import PACKAGED_SEEDS, seed_instances
from pacos.train.data.tokenized import load_dataset
from tests.support.small_training import train_here

SYSTEM = "You are brief."
ROWS, STEPS = 4, 4
END = "<|im_end|>"


def short_tasks(count: int) -> list[Task]:
    """The shortest of the packaged seed tasks."""
    tasks = [task for _, task in seed_instances(PACKAGED_SEEDS)]
    return sorted(tasks, key=lambda task: len(task.instruction + task.input + task.output))[:count]


def conversation(tasks: list[Task]) -> dict[str, Any]:
    """A row with a system text, and each task as a turn of the user's and one of the assistant's."""
    turns = [
        {"role": role, "content": text}
        for task in tasks
        for role, text in (("user", f"{task.instruction}\n{task.input}".strip()), ("assistant", task.output))
    ]
    return {"messages": [{"role": "system", "content": SYSTEM}, *turns]}


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    tasks = short_tasks(2 * ROWS)
    return [conversation(tasks[place : place + 2]) for place in range(0, len(tasks), 2)]


@pytest.fixture(scope="module")
def config(smollm2: Path, rows: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("conversations")
    (folder / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    values = {
        "name": "chats",
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(smollm2)},
        "train": {
            "template": "chat",
            "data": [{"path": str(folder / "chats.jsonl")}],
            "lora": {"r": 4, "alpha": 8},
            "batch_size": ROWS,
            "epochs": STEPS,
            "learning_rate": 2e-3,
            "schedule": "constant",
            "save_steps": 100,
        },
    }
    return parse_config(values, where="test")


@pytest.fixture(scope="module")
def metrics(config: Config) -> Iterator[list[dict[str, Any]]]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several would wait for one another where other tests use the cores
    yield train_here(config)
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer(config: Config, metrics: list[dict[str, Any]]) -> Any:
    """What is saved beside the adapter."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(config.run_dir / "train" / "adapter")


def test_the_loss_goes_down(metrics: list[dict[str, Any]]) -> None:
    losses = [line["loss"] for line in metrics]
    assert len(losses) == STEPS and losses[-1] < 0.8 * losses[0]


def test_every_turn_of_the_assistants_is_supervised_with_the_token_that_ends_it(
    config: Config, metrics: list[dict[str, Any]], tokenizer: Any, rows: list[dict[str, Any]]
) -> None:
    examples = load_dataset(config, tokenizer).examples
    supervised = [[tokenizer.decode(one.ids[first:last]) for first, last in one.label_spans] for one in examples]
    answers = [[turn["content"] + END for turn in row["messages"] if turn["role"] == "assistant"] for row in rows]
    assert supervised == answers
    # Each step takes every row: its labels are all answers' tokens, counted by the tokenizer alone.
    tokens = sum(len(tokenizer(answer, add_special_tokens=False).input_ids) for row in answers for answer in row)
    assert {line["response_tokens"] for line in metrics} == {tokens}


def test_the_adapter_has_the_template_that_it_was_trained_in(
    config: Config, tokenizer: Any, smollm2: Path, rows: list[dict[str, Any]]
) -> None:
    from transformers import AutoTokenizer

    folder = config.run_dir / "train" / "adapter"
    assert json.loads((folder / "pacos.json").read_text(encoding="utf-8"))["template"] == "chat"
    assert tokenizer.chat_template == AutoTokenizer.from_pretrained(smollm2).chat_template
    asked = tokenizer.apply_chat_template(rows[0]["messages"][:-1], tokenize=False, add_generation_prompt=True)
    assert SYSTEM in asked and asked.endswith("<|im_start|>assistant\n")


def test_the_tuned_model_stops_at_the_end_of_its_turn(config: Config, metrics: list[dict[str, Any]]) -> None:
    probe = json.loads((config.run_dir / "train" / "probe.json").read_text(encoding="utf-8"))
    assert probe["prompts"] > 0 and probe["stopped"] > 0
