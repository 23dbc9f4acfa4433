"""Conversations with a system text that all of them share: training with and without shared prefixes, and TRL's packs.

    python -m benchmarks.conversations [--rows 64] [--system 400] [--rounds 2] [--save]

Every conversation has the same system text of about `--system` tokens and two to four short turns; template `plain`, a
bfloat16 base of random weights, LoRA r 16 on every linear layer, 64 conversations a step, micro-batches of at most
2,048 tokens. TRL: SFTTrainer with best-fit packs of 2,048 tokens on the same ids and labels, the base in the same
precision. The loss per label must be the same for everybody and is checked. Seconds are of CPU time, of all threads,
so that other processes change them little; each contender's fastest round counts.
"""

import argparse
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.alpaca import LLAMA_30M, experiment, write_base
from benchmarks.examples_per_second import Outcome, ours, packed_by_trl, rival_model, rival_settings
from benchmarks.result import report
from pacos.chat_templates import training_tokenizer
from pacos.config import Config, parse_config
from pacos.train.data.examples import Example
from pacos.train.data.tokenized import load_dataset
from pacos.train.packing.rules import RowRules
from tests.support.small_training import WORDS

STEP, PACK, RATE = 64, 2048, 1e-30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=STEP)
    parser.add_argument("--system", type=int, default=400, help="words of the shared system text")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    os.environ["ACCELERATE_USE_CPU"] = "true"
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.rows, options.system, options.rounds)
    settings = {"rows": options.rows, "system": options.system, "rounds": options.rounds, "step": STEP, "pack": PACK}
    report("conversations", figures, settings=settings, save=options.save)


def measure(folder: Path, rows: int, system: int, rounds: int) -> dict[str, Any]:
    """Examples per CPU second of each contender, and how many times the others' the sharing one's is."""
    (folder / "base").mkdir()
    base = write_base(folder / "base", LLAMA_30M)
    chat = {"template": "chat", "chat_template": "plain", "max_length": 1024, "pack_tokens": PACK, "epochs": 1}
    settings = {"batch_size": STEP, "learning_rate": RATE, "schedule": "constant", "warmup_ratio": 0.0}
    path = write_conversations(folder / "rows.jsonl", rows, system)
    config = parse_config(experiment(folder, base, path, "chat", **chat, **settings), where="benchmark")
    examples = load_dataset(config, training_tokenizer(config)).examples
    contenders: dict[str, Callable[[], Outcome]] = {
        "shared prefixes": lambda: ours(config, examples, folder),
        "no prefix shared": lambda: ours(config, examples, folder, RowRules(unshared="for comparison")),
        "TRL, packs": lambda: trl(config, folder, examples),
    }
    seconds: dict[str, float] = {}
    losses = {}
    for name in [*contenders] * rounds:
        started = time.process_time()
        losses[name] = contenders[name]().loss
        seconds[name] = min(time.process_time() - started, seconds.get(name, float("inf")))
    assert max(losses.values()) - min(losses.values()) < 2e-2, losses
    rates = {name: round(len(examples) / value, 2) for name, value in seconds.items()}
    return {
        "examples_per_cpu_second": rates,
        "times": {name: round(rates["shared prefixes"] / rate, 2) for name, rate in rates.items()},
        "loss": losses,
        "tokens": sum(len(example.ids) for example in examples),
        "labels": sum(example.response_tokens for example in examples),
    }


def write_conversations(path: Path, count: int, system: int) -> Path:
    draw = random.Random(0)

    def text(words: int) -> str:
        return " ".join(draw.choice(WORDS) for _ in range(words))

    head = {"role": "system", "content": text(system)}
    rows = [
        [head, *({"role": role, "content": text(draw.randint(8, 30))} for role in ("user", "assistant") * pairs)]
        for pairs in (draw.randint(1, 2) for _ in range(count))
    ]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows), encoding="utf-8")
    return path


def trl(config: Config, folder: Path, examples: Sequence[Example]) -> Outcome:
    model, settings = rival_model(config, "bfloat16"), rival_settings(folder, "bfloat16")
    return packed_by_trl(model, training_tokenizer(config), examples, PACK, settings, STEP)


if __name__ == "__main__":
    main()
