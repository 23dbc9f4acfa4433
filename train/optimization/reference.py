"""DPO's reference: log-probabilities under the model that training starts from, computed before the first step.

They are cached by a hash of the responses and of the weights, so that a resumed run does not compute them again, and
trained weights can never stand in for the reference.
"""

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pacos.config import Config, TrainConfig
from pacos.errors import TrainingError
from pacos.progress import bar
from pacos.results.training import Provenance
from pacos.train.data.cache import write_cache
from pacos.train.data.examples import Example
from pacos.train.interfaces import objective_of
from pacos.train.model.fsdp import reshard
from pacos.train.optimization.losses import response_logps
from pacos.train.optimization.runtime import Runtime
from pacos.train.packing.plan import in_batches, lay_out
from pacos.train.packing.prefixes import share_prefixes

log = logging.getLogger("pacos")


def with_reference(
    model: Any, examples: Sequence[Example], config: Config, runtime: Runtime, provenance: Provenance
) -> list[Example]:
    """The examples, each with its log-probability under `model`, which must not have been trained yet.

    Every process calls it. Raises TrainingError for a log-probability that is not finite.
    """
    from accelerate.utils import broadcast_object_list

    path = config.run_dir / "train" / "reference" / f"{reference_sha256(config, provenance)}.safetensors"
    found = [read_logps(path, len(examples)) if runtime.is_main else None]
    broadcast_object_list(found)
    logps = found[0]
    if logps is None:
        logps = reference_logps(model, examples, config.train, runtime)
        if runtime.is_main:
            write_logps(path, logps)
    return [replace(example, reference_logp=logp) for example, logp in zip(examples, logps, strict=True)]


def reference_sha256(config: Config, provenance: Provenance) -> str:
    """Hash of the responses' ids, of the weights that score them, and of their dtype and method."""
    weights = {name: getattr(provenance, name) for name in ("dataset_sha256", "base_sha256", "start_sha256")}
    return hashlib.sha256(json.dumps([weights, config.model.dtype, config.train.method]).encode()).hexdigest()


def reference_logps(model: Any, examples: Sequence[Example], train: TrainConfig, runtime: Runtime) -> list[float]:
    """Log-probabilities in nats, without dropout; each process scores its share."""
    import torch

    objective, accelerator = objective_of(train), runtime.accelerator
    groups = in_batches(objective.units(share_prefixes(examples, train, runtime.rules)), train.batch_size)
    steps = lay_out(groups, train.pack_tokens, runtime.rules, runtime.processes)
    logps = torch.zeros(len(examples), dtype=torch.float64, device=accelerator.device)
    first, size = 0, objective.examples_per_unit
    model.eval()
    with torch.no_grad(), bar("reference", len(steps), "steps", disable=not runtime.is_main) as progress:
        for step in steps:
            layouts, batches = step.layout.micro_batches[runtime.process], runtime.collate_step(step)
            for layout, rows, batch in zip(layouts, step.micro_batches(runtime.process), batches, strict=True):
                scored = [first + size * index + place for row in layout for index in row for place in range(size)]
                found = response_logps(model, runtime.to_device(batch), [one for row in rows for one in row])
                logps[scored] = found.double()
            first += len(step.examples)
            progress.update()
    model.train()
    reshard(model)
    result: list[float] = accelerator.reduce(logps, "sum").tolist()
    for example, logp in zip(examples, result, strict=True):
        if not -float("inf") < logp < float("inf"):
            raise TrainingError(f"the reference log-probability is {logp}", where=example.row, todo="remove this row")
    return result


def write_logps(path: Path, logps: Sequence[float]) -> None:
    """Cache log-probabilities in place of any earlier ones; an interrupted write leaves none."""
    import numpy as np

    write_cache(path, {"logps": np.array(logps, np.float64)})


def read_logps(path: Path, count: int) -> list[float] | None:
    """Cached log-probabilities; None where there are none, not as many, or the file is damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if not path.is_file():
        return None
    try:
        logps: list[float] = load_file(path)["logps"].tolist()
    except (SafetensorError, KeyError) as failure:
        log.warning("ignoring the damaged cache %s: %s", path, failure)
        return None
    return logps if len(logps) == count else None
