"""Which causal language models train, and is it the same training as plain PEFT? One row for each name of transformers.

Every name of transformers' causal-LM mapping is built small and random, and trained for five steps as `pacos train`
does it: loading, choice of rows, checks, loop, export. Beside it PEFT trains the same adapters on each row alone,
without padding, by transformers' eager attention: cross-entropy summed, divided by the step's labels, clipped, AdamW.
Rows that are longer than a window or a rotary length are in variants of their own.

Results are added to `results/architectures.json` one by one, so that an interrupted run goes on; `--table` writes
docs/architectures.md from them.
"""

import argparse
import contextlib
import gc
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.result import RESULTS
from pacos.config import Config
from pacos.errors import PacosError
from pacos.files import write_json
from tests.support.small_architectures import VARIANTS, build
from tests.support.small_training import train_here, training_config, write_tasks

SAVED = RESULTS / "architectures.json"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "architectures.md"
DTYPES = ("float32", "bfloat16")
STEPS, BATCH = 5, 4
# Largest difference of a step's loss from plain PEFT's, relative, that rounding explains.
TOLERANCE = {"float32": 2e-5, "bfloat16": 1e-3}
# Where it is larger: this multiple of the difference between two of PEFT's own, with sdpa, or in float32.
ALLOWANCE = 4


@dataclass(frozen=True)
class Outcome:
    """What became of one architecture in one precision; `difference` is the largest of a step's loss, relative."""

    state: str
    reason: str = ""
    difference: float = 0.0
    seconds: float = 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="all of transformers' mapping, and the variants, unless given")
    parser.add_argument("--again", action="store_true", help="measure also what is in the results already")
    parser.add_argument("--save", action="store_true", help="add the outcomes to the results")
    parser.add_argument("--table", action="store_true", help="write docs/architectures.md from the results, and end")
    options = parser.parse_args()
    if options.table:
        PAGE.write_text(page(json.loads(SAVED.read_text(encoding="utf-8"))), encoding="utf-8")
        return
    quiet()
    results = json.loads(SAVED.read_text(encoding="utf-8")) if SAVED.is_file() else {"outcomes": {}}
    for name in options.names or [*mapping_names(), *VARIANTS]:
        if name in results["outcomes"] and not options.again:
            continue
        try:
            outcomes = measure(name)
        except Exception as failure:
            outcomes = {dtype: Outcome("traceback", f"of the benchmark, {first_line(failure)}") for dtype in DTYPES}
        print(name, {dtype: tuple(asdict(outcome).values()) for dtype, outcome in outcomes.items()}, flush=True)
        if options.save:
            results["outcomes"][name] = {dtype: asdict(outcome) for dtype, outcome in outcomes.items()}
            write_json(SAVED, results | {"versions": versions()})


def quiet() -> None:
    import warnings

    from transformers.utils import logging as transformers_logging

    warnings.filterwarnings("ignore")
    transformers_logging.set_verbosity_error()
    logging.getLogger("pacos").setLevel(logging.CRITICAL)


def versions() -> dict[str, str]:
    """Of the libraries that decide what there is to train."""
    import peft
    import torch
    import transformers

    return {"transformers": transformers.__version__, "peft": peft.__version__, "torch": torch.__version__}


def mapping_names() -> list[str]:
    """The model types of transformers' causal-LM mapping."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def measure(name: str) -> dict[str, Outcome]:
    """The outcome in each precision."""
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder) / "base"
        try:
            build(name, base)
        except Exception as failure:
            return {dtype: Outcome("not built", first_line(failure)) for dtype in DTYPES}
        for dtype in DTYPES:
            began = time.monotonic()
            with open_precision():
                outcome = train_both(base, Path(folder) / dtype, dtype)
            outcomes[dtype] = replace(outcome, seconds=round(time.monotonic() - began, 1))
            gc.collect()
    return outcomes


@contextlib.contextmanager
def open_precision() -> Iterator[None]:
    """bfloat16 stays bfloat16 on any CPU, and the check that a model stops is short: it tells nothing here."""
    with (
        mock.patch("pacos.train.model.precision.has_amx", lambda: True),
        mock.patch("pacos.train.export.probe.LIMITS", range(4, 5)),
    ):
        yield


def train_both(base: Path, folder: Path, dtype: str) -> Outcome:
    """Train by pacos and by PEFT, and compare the losses."""
    folder.mkdir()
    tasks = write_tasks(folder / "tasks.jsonl", STEPS * BATCH)
    config = run_config(folder, base, tasks, dtype)
    try:
        with mock.patch("pacos.train.pipeline.report_rows") as reported:
            found = [line["loss"] for line in train_here(config)]
    except PacosError as refused:
        return Outcome("refused", first_line(refused).replace(f"{base}: ", "").replace(f"{folder}/", ""))
    except Exception as failure:
        return Outcome("traceback", first_line(failure))
    [rules] = reported.call_args.args
    try:
        expected = plain_peft(config, config.run_dir / "train" / "adapter", dtype)
    except Exception as failure:
        return Outcome("not yet", f"trains, and plain PEFT, to compare it with, ends in {first_line(failure)}")
    difference, tolerance = furthest(found, expected), TOLERANCE[dtype]
    if not difference <= tolerance:
        # Some models amplify rounding: how far apart are two computations of PEFT's own?
        attention = "sdpa" if dtype == "float32" else "eager"
        with contextlib.suppress(ValueError):
            again = plain_peft(config, config.run_dir / "train" / "adapter", "float32", attention)
            tolerance = max(tolerance, ALLOWANCE * furthest(again, expected))
    shutil.rmtree(folder)
    if not difference <= tolerance:
        return Outcome("silently wrong", rules.unpacked, difference)
    return Outcome("equal, unpacked" if rules.unpacked else "equal, packed", rules.unpacked, difference)


def run_config(folder: Path, base: Path, tasks: Path, dtype: str) -> Config:
    """Five steps at a constant rate, high enough for the loss to move."""
    settings: dict[str, Any] = {
        "epochs": 1,
        "batch_size": BATCH,
        "pack_tokens": 512,
        "warmup_ratio": 0.0,
        "schedule": "constant",
    }
    settings |= {"learning_rate": 2e-3, "max_grad_norm": 1.0, "lora": {"r": 4, "alpha": 8}}
    config = training_config(folder, base, tasks, **settings)
    return config.model_copy(update={"model": config.model.model_copy(update={"dtype": dtype})})


def furthest(found: list[float], expected: list[float]) -> float:
    """The largest difference of a step's loss, relative."""
    return max(abs(one - other) / abs(other) for one, other in zip(found, expected, strict=True))


def plain_peft(config: Config, adapter: Path, dtype: str, attention: str = "eager") -> list[float]:
    """The losses of PEFT on each row alone, with the settings of `adapter`. Uses nothing of pacos but its token ids."""
    import random

    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from pacos.models import load_tokenizer
    from pacos.train.data.tokenized import load_dataset

    examples = load_dataset(config, load_tokenizer(config.model.base, config.model)).examples
    options = {"dtype": getattr(torch, dtype), "attn_implementation": attention}
    base = AutoModelForCausalLM.from_pretrained(config.model.base, **options)
    settings = LoraConfig.from_pretrained(str(adapter))
    settings.inference_mode = False
    torch.manual_seed(config.seed)
    model = get_peft_model(base, settings).train()
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=float(config.train.learning_rate), weight_decay=0.0)
    order = list(range(len(examples)))
    random.Random(f"{config.seed}:0").shuffle(order)
    losses = []
    for start in range(0, len(order), BATCH):
        rows = [examples[index] for index in order[start : start + BATCH]]
        count, total = sum(row.response_tokens for row in rows), 0.0
        for row in sorted(rows, key=lambda row: -len(row.ids)):
            ids = torch.tensor([row.ids])
            for part in model.modules():
                if hasattr(part, "max_seq_len_cached") and hasattr(part, "original_inv_freq"):
                    # Dynamic rotary embeddings remember longer rows: here each row is the first.
                    part.max_seq_len_cached, part.inv_freq = part.original_max_seq_len, part.original_inv_freq
            logits = model(input_ids=ids).logits[0, row.prompt_length - 1 : -1].float()
            loss = torch.nn.functional.cross_entropy(logits, ids[0, row.prompt_length :], reduction="sum") / count
            loss.backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(trained, config.train.max_grad_norm)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(total)
    return losses


def first_line(failure: Exception) -> str:
    """The kind of an error and the first line of its message, for a table."""
    line = (str(failure).strip() or "no message").splitlines()[0]
    line = line if isinstance(failure, PacosError) else f"{type(failure).__name__}: {line}"
    return line.replace("|", "/")[:160]


def page(results: dict[str, Any]) -> str:
    """docs/architectures.md."""
    outcomes = results["outcomes"]
    lines = [
        f"| {name} | {' | '.join(cell(outcomes[name][dtype]) for dtype in DTYPES)} |"
        for name in outcomes
        if outcomes[name]["float32"]["state"] != "not built"
    ]
    unbuilt = [
        f"- `{name}`: {one['float32']['reason']}"
        for name, one in outcomes.items()
        if one["float32"]["state"] == "not built"
    ]
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return TEXT.format(
        versions=versions,
        count=len(lines),
        allowance=ALLOWANCE,
        rows="\n".join(lines),
        unbuilt="\n".join(unbuilt) or "None.",
    )


def cell(outcome: dict[str, Any]) -> str:
    """One outcome as it stands in the table."""
    state, reason = outcome["state"], outcome["reason"]
    text = f"{state} ({reason})" if reason else state
    return f"{text}, {outcome['difference']:.0e}" if state.startswith("equal") else text


TEXT = """\
# Architectures

`pacos train` takes any causal language model that transformers and PEFT can train. Where a model's layers allow it,
examples are packed. Otherwise each has a padded row of its own: the loss is the same, a step takes longer, and the log
says why. What decides is what the layers do with a token, not a list of names (`train/model/mixing.py`).

<!-- written by `python -m benchmarks.architectures --table` from benchmarks/results/architectures.json -->

Measured with {versions}: {count} small random models, five steps each as `pacos train` takes them, beside PEFT on each
row alone. The number is the largest difference of a step's loss, relative to the loss. Up to 2e-5 in float32 and 1e-3
in bfloat16 is equal, or up to {allowance} times what PEFT's own losses differ by: with eager attention from sdpa's, in
bfloat16 from float32's.

| model type | float32 | bfloat16 |
|---|---|---|
{rows}

## Not built

The benchmark makes small configurations by reducing every size whose name it knows. These it could not make:

{unbuilt}
"""


if __name__ == "__main__":
    main()
