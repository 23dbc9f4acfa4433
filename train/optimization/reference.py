"""The reference of DPO: the model that training starts from, its adapter included, asked once before the first step.

Its log-probabilities are kept by a hash of the answers and of the weights, so that a run that goes on does not ask
again, and that trained weights can never stand in for it.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.progress import bar
from pacos.records import disk_error
from pacos.train.data.examples import Dataset, Example
from pacos.train.model.fsdp import reshard
from pacos.train.optimization.objectives import answer_logps
from pacos.train.packing.batch import collate
from pacos.train.packing.bins import Room
from pacos.train.packing.plan import as_units, in_order, lay_out_steps
from pacos.train.packing.prefixes import share_prefixes

if TYPE_CHECKING:
    from accelerate import Accelerator

log = logging.getLogger("pacos")


def with_reference(
    model: Any,
    dataset: Dataset,
    config: Config,
    accelerator: "Accelerator",
    pad_id: int,
    provenance: dict[str, str],
    *,
    static: bool,
) -> list[Example]:
    """The dataset's examples, each with its log-probability under `model`, which has not been trained yet.

    Every process calls it. Raises TrainingError for a log-probability that is not finite.
    """
    from accelerate.utils import broadcast_object_list

    path = config.run_dir / "train" / "reference" / f"{reference_sha256(config, provenance)}.safetensors"
    found = [read_logps(path, len(dataset.examples)) if accelerator.is_main_process else None]
    broadcast_object_list(found)
    logps = found[0]
    if logps is None:
        room = Room(config.train.pack_tokens, accelerator.num_processes, static)
        logps = reference_logps(model, dataset.examples, config, accelerator, pad_id, room)
        if accelerator.is_main_process:
            write_logps(path, logps)
    return [replace(example, reference=logp) for example, logp in zip(dataset.examples, logps, strict=True)]


def reference_sha256(config: Config, provenance: dict[str, str]) -> str:
    """Hash of the answers' ids, the weights that score them, and how these are held."""
    weights = {name: provenance[name] for name in ("dataset_sha256", "base_sha256", "start_sha256")}
    return hashlib.sha256(json.dumps([weights, config.model.dtype, config.train.method]).encode()).hexdigest()


def reference_logps(
    model: Any, examples: Sequence[Example], config: Config, accelerator: "Accelerator", pad_id: int, room: Room
) -> list[float]:
    """In nats, without dropout; each process scores its share."""
    import torch

    train = config.train
    steps = lay_out_steps(in_order(as_units(share_prefixes(examples, train), train), train), room)
    logps = torch.zeros(len(examples), dtype=torch.float64, device=accelerator.device)
    first = 0
    model.eval()
    with torch.no_grad(), bar("reference", len(steps), "steps", disable=not accelerator.is_main_process) as progress:
        for step in steps:
            shares = step.layout.passes[accelerator.process_index]
            for places, rows in zip(shares, step.passes(accelerator.process_index), strict=True):
                scored = [2 * index + answer for row in places for index in row for answer in (0, 1)]
                batch = collate(rows, step.layout.width, pad_id).to(accelerator.device)
                found = answer_logps(model, batch, [example for row in rows for example in row])
                logps[[first + place for place in scored]] = found.double()
            first += len(step.examples)
            progress.update()
    model.train()
    reshard(model)
    together: list[float] = accelerator.reduce(logps, "sum").tolist()
    for example, logp in zip(examples, together, strict=True):
        if not -float("inf") < logp < float("inf"):
            raise TrainingError(f"the reference log-probability is {logp}", where=example.row, todo="remove this row")
    return together


def write_logps(path: Path, logps: Sequence[float]) -> None:
    """Replace whatever was kept before; an interrupted write leaves none."""
    import numpy as np
    from safetensors.numpy import save_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        aside = path.with_suffix(".new")
        save_file({"logps": np.array(logps, np.float64)}, aside)
        aside.replace(path)
    except OSError as failure:
        raise disk_error(failure, path) from failure


def read_logps(path: Path, count: int) -> list[float] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        return None
    try:
        logps: list[float] = load_file(path)["logps"].tolist()
    except (SafetensorError, KeyError) as failure:
        log.warning("passing over %s: %s", path, failure)
        return None
    return logps if len(logps) == count else None
