"""A training run small enough for a test: made-up tasks, a config for the tiny Llama, a run inside this process."""

import json
import random
from pathlib import Path
from typing import Any

from pacos.config import Config, parse_config
from pacos.runs import Run

WORDS = [
    "the",
    "quick",
    "brown",
    "fox",
    "jumps",
    "over",
    "a",
    "lazy",
    "dog",
    "red",
    "round",
    "apple",
    "fruit",
    "1",
    "2",
]


def write_tasks(path: Path, count: int = 40, *, seed: int = 0) -> Path:
    """Tasks of very different lengths; every third has an input."""
    draw = random.Random(seed)

    def text(shortest: int, longest: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(shortest, longest)))

    tasks = [
        {"instruction": text(3, 12), "input": text(2, 8) if number % 3 == 0 else "", "output": text(1, 30)}
        for number in range(count)
    ]
    path.write_text("".join(json.dumps(task) + "\n" for task in tasks), encoding="utf-8")
    return path


def training_config(folder: Path, base: Path, tasks: Path, name: str = "run", **train: Any) -> Config:
    settings = {
        "data": [{"path": str(tasks)}],
        "epochs": 2,
        "batch_size": 8,
        "max_length": 256,
        "pack_tokens": 512,
        "learning_rate": 0.01,
        "save_steps": 1000,
        "lora": {"r": 8, "alpha": 16},
    }
    values = {
        "name": name,
        "runs_dir": str(folder / "runs"),
        "model": {"base": str(base)},
        "train": settings | train,
    }
    return parse_config(values, where="test")


def chat_config(folder: Path, base: Path, rows: list[dict[str, Any]], **train: Any) -> Config:
    """A run with the template `chat` on the rows of `chats.jsonl`, which it writes."""
    path = folder / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return training_config(folder, base, path, **{"template": "chat"} | train)


def train_here(config: Config) -> list[dict[str, Any]]:
    """Train in this process; returns the lines of metrics.jsonl."""
    from pacos.train import pipeline

    with Run.open(config) as run:
        pipeline.main(config, run)
    return read_metrics(config)


def read_metrics(config: Config) -> list[dict[str, Any]]:
    lines = (config.run_dir / "train" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def write_pairs(path: Path, count: int = 24, *, seed: int = 0) -> Path:
    """Preference pairs; every third has an input, and the last gives its whole prompt."""
    draw = random.Random(seed)

    def text(shortest: int, longest: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(shortest, longest)))

    pairs = [
        {
            "instruction": text(3, 12),
            "input": text(2, 8) if number % 3 == 0 else "",
            "chosen": f"the {text(1, 20)}",
            "rejected": f"the {text(1, 20)}",
        }
        for number in range(count - 1)
    ]
    pairs.append({"prompt": "A fox is quick. A dog is", "chosen": " lazy", "rejected": " an apple"})
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf-8")
    return path
