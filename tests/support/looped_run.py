"""A small self-rewarding loop: real commands and the real trainer, a scripted server instead of the engine."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from pacos.config import Config, ModelConfig, parse_config
from pacos.evaluate.judge.additive import ADDITIVE
from pacos.evaluate.judge.answers import JudgedAnswer
from pacos.evaluate.judge.pairwise import PAIRWISE
from pacos.evaluate.judge.prompts import unchanged
from pacos.files import write_jsonl
from pacos.models import load_tokenizer
from tests.support.killed_run import PACOS, ROOT
from tests.support.scripted_server import Prompt, list_answer
from tests.support.superni_folder import write_superni

MARK = re.compile(r"\b[0-9a-f]{32}\b")


class Model:
    """Writes tasks, answers them and judges answers, each as a pure function of prompt and seed."""

    def __init__(self, base: Path) -> None:
        self._tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))

    def __call__(self, prompt: Prompt, seed: int | None) -> tuple[str, str]:
        # Judges' marks are keyed by each folder of judgements, and no two runs have the same.
        text = MARK.sub("", self._tokenizer.decode(list(prompt), skip_special_tokens=True))
        draw = hashlib.sha256(json.dumps([text, seed]).encode()).digest()
        if ADDITIVE.prompt[:40] in text:
            return (f"It says something.\nScore: {draw[0] % 6}" if draw[1] % 10 else "It is hard to say."), "stop"
        if PAIRWISE.prompt[:40] in text:
            return "ABC"[draw[0] % 3], "stop"
        if "List of" in text:
            return list_answer(prompt, seed)
        return " ".join(["yes", "no", "perhaps"][byte % 3] for byte in draw[: 1 + draw[31] % 8]), "stop"


def write_seeds(folder: Path) -> dict[str, str]:
    """{name: path} of instructions, judging rows and ranked answers."""
    instructions = [
        {"instruction": f"Say the number {number}.", "input": "", "output": f"{number}"} for number in range(8)
    ]
    answers = [
        JudgedAnswer(f"r{number}", "people", 0, f"Say {number}.", "", text)
        for number in range(4)
        for text in (f"{number}", "no")
    ]
    judging = [
        {
            "instruction": ADDITIVE.writer(one)(unchanged),
            "input": "",
            "output": f"So.\nScore: {5 - 5 * (one.text == 'no')}",
        }
        for one in answers
    ]
    ranked = [
        {"id": f"q{number}", "instruction": f"Name colour {number}.", "output": f"colour {rank}", "rank": rank}
        for number in range(10)
        for rank in range(3)
    ]
    paths = {}
    for name, rows in (("instructions", instructions), ("judging", judging), ("ranked", ranked)):
        write_jsonl(folder / f"{name}.jsonl", rows)
        paths[name] = str(folder / f"{name}.jsonl")
    return paths


def experiment(tmp_path: Path, base: Path, url: str, *, name: str = "loop") -> Config:
    paths = write_seeds(tmp_path / "seeds")
    suite = write_superni(tmp_path / "suite", {"task001_colour": {}, "task002_shade": {}})
    learning = {
        "lora": {"r": 8, "alpha": 16},
        "batch_size": 4,
        "max_length": 2048,
        "epochs": 1,
        "learning_rate": 1e-3,
        "save_steps": 2,
    }
    return parse_config(
        {
            "name": name,
            "runs_dir": str(tmp_path / "runs"),
            "model": {"base": str(base), "dtype": "float32"},
            "engine": {"url": url, "max_in_flight": 4},
            "generate": {"target": 8, "window": 32, "filters": {"defects": False}},
            "answers": {"samples": 3, "max_tokens": 64, "seed": 1},
            "train": {"objective": "dpo", **learning},
            "evaluate": {
                "suites": [{"name": "small", "path": str(suite), "max_tokens": 16}],
                "judge": {"samples": 2, "max_tokens": 64},
            },
            "loop": {
                "rounds": 1,
                "ranked": paths["ranked"],
                "held_aside": 5,
                "instructions": [{"path": paths["instructions"]}],
                "judging": [{"path": paths["judging"]}],
                "sft": learning,
                "stops": {"stop": False},
            },
        },
        where="test",
    )


def command(config: Config, folder: Path) -> list[str]:
    file = folder / f"{config.name}.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")), encoding="utf-8")
    return [sys.executable, "-c", PACOS, "loop", "--config", str(file)]


def kill_after(seconds: float, words: list[str]) -> bool:
    """Start the command and kill -9 it after a while; False where it had already ended."""
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
        return False
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        return True


def derived(config: Config) -> Iterator[tuple[str, bytes]]:
    """(name, bytes) of what the loop makes: tasks, answers, pairs and weights of every round."""
    names = ["ranked/held-aside.jsonl", "round-0/train/adapter/adapter_model.safetensors"]
    for number in range(1, config.loop.rounds + 1):
        parts = (
            "dataset/dataset.jsonl",
            "answers/answers.jsonl",
            "pairs/pairs.jsonl",
            "train/adapter/adapter_model.safetensors",
        )
        names += [f"round-{number}/{part}" for part in parts]
    for name in names:
        yield name, (config.run_dir / name).read_bytes()
