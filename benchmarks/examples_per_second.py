"""Examples a second on a CPU: ours, alpaca-lora's way and TRL's, on the same rows, weights and labels.

Ours: optimizer steps of 128 examples, packed inside the step into micro-batches of at most 2,048 tokens; as it is by
default, and with `train.compile`, whose kernels are compiled before anything is timed. alpaca-lora's way: transformers'
Trainer, batches of 4 padded to the longest, 32 of them a step. TRL: SFTTrainer with packs of 512, 1,024 and 2,048
tokens, as many a step as hold 128 examples on average. All: the same bfloat16 base of random weights, LoRA r 16 on
every linear layer in float32, no checkpointing, loss on responses alone. Each rival is tried on a few rows in bfloat16,
under bf16 autocast and with the base's weights in float32, which a CPU without bfloat16 arithmetic needs; it then runs
in the fastest. Rivals are not compiled.

The learning rate is next to nothing, so that the loss per label over all rows must be the same for everybody: it is
checked, as is the number of labels. Needs TRL: pip install "trl==1.16.0".
"""

import argparse
import importlib.metadata
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

from benchmarks.alpaca import LLAMA_30M, experiment, write_base, write_rows
from benchmarks.result import report
from pacos.config import Config, parse_config
from pacos.models import load_tokenizer
from pacos.train.data.examples import Example
from pacos.train.data.tokenized import load_dataset
from pacos.train.packing.rules import PACKED, RowRules

STEP = 128
RATE = 1e-30
PACKS = (512, 1024, 2048)

Precision = Literal["bfloat16", "autocast", "float32"]
Contender = Callable[[Sequence[Example], Precision], "Outcome"]


@dataclass
class Outcome:
    """Of one contender over all rows once. `loss` in nats per label."""

    seconds: float
    label_count: int
    loss: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=256, help="Alpaca rows, each trained on once")
    parser.add_argument("--rounds", type=int, default=2, help="times each contender runs; its fastest counts")
    parser.add_argument("--trial", type=int, default=8, help="rows on which each rival's precisions are tried")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    os.environ["ACCELERATE_USE_CPU"] = "true"
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.rows, options.rounds, options.trial)
    settings = {
        "rows": options.rows,
        "rounds": options.rounds,
        "examples_per_step": STEP,
        "trial": options.trial,
        "shape": asdict(LLAMA_30M),
    }
    settings["trl"] = importlib.metadata.version("trl")
    report("examples_per_second", figures, settings=settings, save=options.save)


def measure(folder: Path, count: int, rounds: int, trial: int) -> dict[str, Any]:
    base = folder / "base"
    base.mkdir()
    write_base(base, LLAMA_30M)
    rows = write_rows(folder / "rows.jsonl", count)
    settings = {"epochs": 1, "learning_rate": RATE, "batch_size": STEP, "pack_tokens": PACKS[-1]}
    config, compiled = (
        parse_config(experiment(folder, base, rows, "ours", compile=compile, **settings), where="benchmark")
        for compile in ("auto", True)
    )
    examples = load_dataset(config, load_tokenizer(str(base), config.model)).examples
    rivals: dict[str, Contender] = {
        "alpaca_lora": partial(padded, config, folder),
        **{f"trl_{pack}": partial(trl, config, folder, pack) for pack in PACKS},
    }
    tried = {
        name: {precision: speed(run, examples[:trial], precision) for precision in get_args(Precision)}
        for name, run in rivals.items()
    }
    contenders = {"ours": partial(ours, config, examples, folder)}
    contenders["ours_compiled"] = partial(ours, compiled, examples, folder)
    for name, run in rivals.items():
        contenders[name] = partial(run, examples, max(tried[name], key=lambda precision: tried[name][precision]))
    for name in ("ours", "ours_compiled"):
        contenders[name]()
    best: dict[str, Outcome] = {}
    for _ in range(rounds):
        for name, contend in contenders.items():
            outcome = contend()
            best[name] = min(best.get(name, outcome), outcome, key=lambda outcome: outcome.seconds)
            print(f"{name}: {len(examples) / outcome.seconds:.2f} examples/s", flush=True)
    return compared(best, len(examples)) | {"examples_per_s_tried": tried}


def speed(run: Contender, rows: Sequence[Example], precision: Precision) -> float:
    return round(len(rows) / run(rows, precision).seconds, 2)


def compared(best: dict[str, Outcome], examples: int) -> dict[str, Any]:
    """Raises AssertionError where somebody did other work than ours."""
    ours = best["ours"]
    for name, outcome in best.items():
        assert outcome.label_count == ours.label_count, f"{name} trained on other labels: {outcome} against {ours}"
        assert abs(outcome.loss - ours.loss) < 2e-3 * ours.loss, f"{name} has another loss: {outcome} against {ours}"
    speeds = {name: examples / outcome.seconds for name, outcome in best.items()}
    mine = [name for name in speeds if name.startswith("ours")]
    rivals = {kind: max(speeds[name] for name in speeds if name.startswith(kind)) for kind in ("alpaca_lora", "trl")}
    return {
        "examples_per_s": {name: round(speed, 2) for name, speed in speeds.items()},
        "times_alpaca_lora": {name: round(speeds[name] / rivals["alpaca_lora"], 2) for name in mine},
        "times_best_trl": {name: round(speeds[name] / rivals["trl"], 2) for name in mine},
        "learnt_tokens": ours.label_count,
        "loss": {name: round(outcome.loss, 5) for name, outcome in best.items()},
    }


def ours(config: Config, examples: Sequence[Example], folder: Path, rules: RowRules = PACKED) -> Outcome:
    """The product's own loop; seconds are those of its steps, as its metrics report them."""
    import torch
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState
    from transformers.models.llama import modeling_llama

    from pacos.files import read_jsonl
    from pacos.train.attention.dispatch import attention_for
    from pacos.train.model.load import load_model
    from pacos.train.optimization.loop import Trainer
    from pacos.train.optimization.runtime import Runtime
    from pacos.train.packing.plan import plan_run

    rotary = modeling_llama.apply_rotary_pos_emb
    with tempfile.TemporaryDirectory(dir=folder) as run:
        AcceleratorState._reset_state(reset_partial_state=True)  # a rival's autocast would stay on
        accelerator = Accelerator(cpu=True)
        model = load_model(config, "cpu", attention_for(config, torch.device("cpu")))
        plan = plan_run(examples, config.train, config.seed, rules=rules)
        Trainer(model, config, Runtime(accelerator, pad_id=2, rules=rules)).run(plan, Path(run), {})
        steps = [values for _, values in read_jsonl(Path(run) / "metrics.jsonl")]
    # What is compiled of the architecture would speed the others up.
    modeling_llama.apply_rotary_pos_emb = rotary
    labels = sum(step["response_tokens"] for step in steps)
    loss = sum(step["loss"] * step["response_tokens"] for step in steps) / labels
    return Outcome(sum(step["seconds"] for step in steps), labels, loss)


def rival_model(config: Config, precision: Precision) -> Any:
    """The same base and adapters in PEFT's own layers, with transformers' own attention."""
    import torch

    from pacos.train.model.load import load_model

    train = config.train.model_copy(update={"fused_lora": False})
    model = load_model(config.model_copy(update={"train": train}), "cpu")
    frozen = torch.float32 if precision == "float32" else torch.bfloat16
    for weight in model.parameters():
        if not weight.requires_grad:
            weight.data = weight.data.to(frozen)
    return model


def rival_settings(folder: Path, precision: Precision) -> dict[str, Any]:
    return {
        "output_dir": str(folder / "rival"),
        "num_train_epochs": 1,
        "learning_rate": RATE,
        "lr_scheduler_type": "constant",
        "bf16": precision == "autocast",
        "use_cpu": True,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }


def padded(config: Config, folder: Path, examples: Sequence[Example], precision: Precision) -> Outcome:
    """As alpaca-lora's finetune.py: micro-batches of 4, padded on the left to the longest, a multiple of 8."""
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    tokenizer = load_tokenizer(config.model.base, config.model)
    tokenizer.pad_token_id, tokenizer.padding_side = 0, "left"
    arguments = TrainingArguments(
        per_device_train_batch_size=4, gradient_accumulation_steps=STEP // 4, **rival_settings(folder, precision)
    )
    collator = DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt", padding=True)
    rows = [{"input_ids": example.ids, "labels": labels(example)} for example in examples]
    return timed(
        Trainer(model=rival_model(config, precision), args=arguments, train_dataset=rows, data_collator=collator)  # type: ignore
    )


def trl(config: Config, folder: Path, pack: int, examples: Sequence[Example], precision: Precision) -> Outcome:
    tokenizer = load_tokenizer(config.model.base, config.model)
    return packed_by_trl(rival_model(config, precision), tokenizer, examples, pack, rival_settings(folder, precision))


def packed_by_trl(
    model: Any, tokenizer: Any, examples: Sequence[Example], pack: int, settings: dict[str, Any], step: int = STEP
) -> Outcome:
    """SFTTrainer on best-fit packs of `pack` tokens, one per micro-batch; `step` examples a step on average."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = Dataset.from_list([{"input_ids": example.ids, "labels": labels(example)} for example in examples])
    packs = sum(len(example.ids) for example in examples) / pack
    arguments = SFTConfig(
        max_length=pack,
        packing=True,
        packing_strategy="bfd",
        per_device_train_batch_size=1,
        gradient_accumulation_steps=max(1, round(packs * step / len(examples))),
        **settings,
    )
    return timed(SFTTrainer(model, args=arguments, train_dataset=rows, processing_class=tokenizer))


def labels(example: Example) -> list[int]:
    """The ids of answers, and -100 elsewhere."""
    found = [-100] * len(example.ids)
    for first, last in example.label_spans:
        found[first:last] = example.ids[first:last]
    return found


def timed(trainer: Any) -> Outcome:
    """Seconds from the first step's beginning to the last one's end."""
    from transformers import TrainerCallback

    clock: list[float] = []
    counted: list[int] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.append(time.perf_counter())

    collate = trainer.data_collator

    def counting(rows: Any) -> Any:
        batch = collate(rows)
        counted.append(int((batch["labels"] != -100).sum()))
        return batch

    trainer.data_collator = counting
    trainer.add_callback(Clock())
    trainer.train()
    micro_batches = trainer.args.gradient_accumulation_steps
    per_step = [sum(counted[at : at + micro_batches]) for at in range(0, len(counted), micro_batches)]
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    mean = sum(loss * tokens for loss, tokens in zip(losses, per_step, strict=True)) / sum(per_step)
    return Outcome(clock[-1] - clock[0], sum(per_step), mean)


if __name__ == "__main__":
    main()
