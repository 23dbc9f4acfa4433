"""`train/model/`: a fully tuned model as transformers and vLLM load it, read back and set against its base."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import RunError, TrainingError
from pacos.records import write_json
from pacos.serving.merged import load_base
from pacos.train.model.precision import training_dtype
from pacos.train.model.structure import causal_model

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def write_model(model: Any, trained: "Mapping[str, torch.Tensor]", config: Config, folder: Path) -> None:
    """Weights in the precision they were computed in, and configuration. `trained` are whole, by parameter name.

    Raises RunError where they read back otherwise, TrainingError for a model that is its base still.
    """
    import torch

    dtype = training_dtype(config)
    rounded = {name: weight.to(dtype) for name, weight in trained.items()}
    if broken := [name for name, weight in rounded.items() if not torch.isfinite(weight).all()]:
        raise TrainingError(f"{broken[0]} is not finite", where=str(folder), todo="lower train.learning_rate")
    # transformers takes out of the dict what it has written.
    causal_model(model).save_pretrained(str(folder), state_dict=dict(rounded))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # It notes the precision of the weights in memory.
    write_json(folder / "config.json", settings | {"dtype": str(dtype).removeprefix("torch.")})
    check_reads_back(folder, rounded)
    moved = share_moved(rounded, config)
    log.info("model: %.1f%% of the weights differ from the base's, in %s", 100 * moved, dtype)


def check_reads_back(folder: Path, expected: "Mapping[str, torch.Tensor]") -> None:
    """As transformers reads it: same names, same bits."""
    import torch

    found = dict(load_base(str(folder), None, "cpu").named_parameters())
    if odd := sorted(found.keys() ^ expected.keys()):
        raise RunError(f"what was written lacks or adds weights: {odd[0]}, …", where=str(folder))
    for name, weight in expected.items():
        if found[name].dtype != weight.dtype or not torch.equal(found[name].detach(), weight):
            raise RunError(f"{name} reads back other than it was written", where=str(folder), todo="check the disk")


def share_moved(trained: "Mapping[str, torch.Tensor]", config: Config) -> float:
    """Share of all weights that are no longer the base's. Raises TrainingError where it is none."""
    name, moved, total = config.student, 0, 0
    revision = config.model.revision if name == config.model.base else None
    for parameter, weight in load_base(name, revision, "cpu").named_parameters():
        moved += int((trained[parameter] != weight.detach().to(trained[parameter].dtype)).sum())
        total += weight.numel()
    if not moved:
        raise TrainingError(
            f"every weight is the base's own, in {next(iter(trained.values())).dtype}",
            where=name,
            todo="train for more steps, raise train.learning_rate, or set model.dtype=float32",
        )
    return moved / total
