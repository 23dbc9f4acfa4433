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
from benchmarks.examples_per_second import rival_model, rival_settings
from benchmarks.result import report
from pacos.chat_templates import training_tokenizer
from pacos.config import Config, parse_config
from pacos.train.data.examples import Example
from pacos.train.data.tokenized import load_dataset
from pacos.train.packing.rules import PACKED, RowRules
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
    contenders: dict[str, Callable[[], float]] = {
        "shared prefixes": lambda: ours(config, folder, examples, PACKED),
        "no prefix shared": lambda: ours(config, folder, examples, RowRules(unshared="for comparison")),
        "TRL, packs": lambda: trl(config, folder, examples),
    }
    seconds: dict[str, float] = {}
    losses = {}
    for name in [*contenders] * rounds:
        started = time.process_time()
        losses[name] = contenders[name]()
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


def ours(config: Config, folder: Path, examples: Sequence[Example], rules: RowRules) -> float:
    """Loss per label of all examples, each trained on once."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from pacos.files import read_jsonl
    from pacos.train.attention.dispatch import attention_for
    from pacos.train.model.load import load_model
    from pacos.train.optimization.loop import Trainer
    from pacos.train.optimization.runtime import Runtime
    from pacos.train.packing.plan import plan_run

    with tempfile.TemporaryDirectory(dir=folder) as run:
        AcceleratorState._reset_state(reset_partial_state=True)
        model = load_model(config, "cpu", attention_for(config, torch.device("cpu")))
        plan = plan_run(examples, config.train, config.seed, rules=rules)
        Trainer(model, config, Runtime(Accelerator(cpu=True), 2, rules)).run(plan, Path(run), {})
        steps = [values for _, values in read_jsonl(Path(run) / "metrics.jsonl")]
    labels = sum(step["response_tokens"] for step in steps)
    return float(sum(step["loss"] * step["response_tokens"] for step in steps) / labels)


def trl(config: Config, folder: Path, examples: Sequence[Example]) -> float:
    """SFTTrainer's loss per label on best-fit packs, one to a micro-batch."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer  # type: ignore[attr-defined]

    tokenizer = training_tokenizer(config)
    rows = Dataset.from_list([{"input_ids": example.ids, "labels": labels_of(example)} for example in examples])
    packs = sum(len(example.ids) for example in examples) / PACK
    arguments = SFTConfig(
        max_length=PACK,
        packing=True,
        packing_strategy="bfd",
        per_device_train_batch_size=1,
        gradient_accumulation_steps=max(1, round(packs * STEP / len(examples))),
        **rival_settings(folder, "bfloat16"),
    )
    trainer = SFTTrainer(
        rival_model(config, "bfloat16"), args=arguments, train_dataset=rows, processing_class=tokenizer
    )
    trainer.train()
    logged = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return float(sum(logged) / len(logged))


def labels_of(example: Example) -> list[int]:
    """The ids of answers, and -100 elsewhere."""
    labels = [-100] * len(example.ids)
    for first, last in example.label_spans:
        labels[first:last] = example.ids[first:last]
    return labels


if __name__ == "__main__":
    main()
