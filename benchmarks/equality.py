"""Is packed training the same training? Loss curves over 50 steps, and gradients in float64, by how much they differ.

Curves, in float32: two processes against one, at least four micro-batches a step against one, and transformers' Trainer
on padded batches of the same examples. Gradients: everything in one row with shared prefixes against one example at a
time through the model alone; with RMSNorm in float64, and as transformers has it (it computes in float32 whatever comes
in).
"""

import argparse
import contextlib
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.result import report
from pacos.config import Config
from pacos.train import launch
from tests.support.small_training import read_metrics, train_here, training_config, write_tasks
from tests.support.tiny_llama import build_tiny_llama
from tests.train import test_batch as packs
from tests.train.test_train_loop import trainer_curve

NORM = "transformers.models.llama.modeling_llama.LlamaRMSNorm.forward"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = curves(Path(folder), options.steps)
    figures["float64_exact_norm"] = gradients(exact=True)
    figures["float64_stock_norm"] = gradients(exact=False)
    report("equality", figures, settings={"steps": options.steps}, save=options.save)


def curves(folder: Path, steps: int) -> dict[str, Any]:
    base, tasks = build_tiny_llama(folder / "base"), write_tasks(folder / "tasks.jsonl", 16 * steps)
    # The recipes' rate: at fifty times as much, rounding alone moves the fiftieth loss by 1e-2 between any two of them.
    settings = {"epochs": 1, "batch_size": 16, "warmup_ratio": 0.1, "max_length": 200, "learning_rate": 2e-4}

    def config(name: str, **train: Any) -> Config:
        return training_config(folder, base, tasks, name, **(settings | train))

    one = config("one", pack_tokens=4096)
    expected = train_here(one)
    narrow = train_here(config("narrow", pack_tokens=200))
    two = config("two", pack_tokens=4096, processes=2)
    launch.main(two)
    return {
        "first_loss": expected[0]["loss"],
        "last_loss": expected[-1]["loss"],
        "two_processes": furthest(read_metrics(two), expected),
        "four_passes_or_more": furthest(narrow, expected),
        "transformers_trainer_padded": furthest(trainer_curve(one, folder / "trainer"), expected),
    }


def furthest(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> float:
    """Largest difference of a step's loss, in nats."""
    return max(abs(one["loss"] - other["loss"]) for one, other in zip(found, expected, strict=True))


def gradients(*, exact: bool) -> dict[str, float]:
    """Relative differences of the loss and of the worst entry of any gradient, to the largest of its tensor."""
    with mock.patch(NORM, packs.exact_norm) if exact else contextlib.nullcontext():
        model, rows = packs.tiny_model(), packs.random_examples(48)
        expected, alone = packs.one_at_a_time(model, rows)
        found, together = packs.loss_and_gradients(model, packs.packed(rows, 4000))
    return {"loss": abs(found / expected - 1), "gradients": packs.worst(together, alone)}


if __name__ == "__main__":
    main()
