"""Writes `train/model/`, a fully tuned model as transformers and vLLM load it, reads it back, and compares it with
its base."""

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.causal_lm import load_causal_lm
from pacos.config import Config, ModelConfig
from pacos.errors import RunError, TrainingError
from pacos.files import write_json
from pacos.train.model.structure import causal_model

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def write_model(
    model: Any, trained: "Mapping[str, torch.Tensor]", config: Config, dtype: "torch.dtype", folder: Path
) -> None:
    """Write configuration and weights, rounded to `dtype`; `trained` are full tensors by parameter name.

    Raises RunError where they read back differently, TrainingError for a model that still equals its base.
    """
    import torch

    rounded = {name: weight.to(dtype) for name, weight in trained.items()}
    if broken := [name for name, weight in rounded.items() if not torch.isfinite(weight).all()]:
        raise TrainingError(f"{broken[0]} is not finite", where=str(folder), todo="lower train.learning_rate")
    # transformers removes from the dict what it has written.
    causal_model(model).save_pretrained(str(folder), state_dict=dict(rounded))
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # save_pretrained records the dtype of the weights in memory.
    write_json(folder / "config.json", settings | {"dtype": str(dtype).removeprefix("torch.")})
    check_model_folder(config.model.model_copy(update={"base": str(folder), "revision": None}), rounded)
    moved = share_moved(rounded, config)
    log.info("model: %.1f%% of the weights differ from the base's, in %s", 100 * moved, dtype)


def check_model_folder(written: ModelConfig, expected: "Mapping[str, torch.Tensor]") -> None:
    """Raises RunError unless transformers loads the same names and the same bits from the folder `written.base`."""
    import torch

    folder = written.base
    found = dict(load_causal_lm(folder, written, device="cpu").named_parameters())
    if odd := sorted(found.keys() ^ expected.keys()):
        raise RunError(f"what was written lacks or adds weights: {odd[0]}, …", where=folder)
    for name, weight in expected.items():
        if found[name].dtype != weight.dtype or not torch.equal(found[name].detach(), weight):
            raise RunError(f"{name} reads back differently than it was written", where=folder, todo="check the disk")


def share_moved(trained: "Mapping[str, torch.Tensor]", config: Config) -> float:
    """Share of all weights that differ from the base's. Raises TrainingError where none does."""
    name, moved, total = config.student, 0, 0
    for parameter, weight in load_causal_lm(name, config.model, device="cpu").named_parameters():
        moved += int((trained[parameter] != weight.detach().to(trained[parameter].dtype)).sum())
        total += weight.numel()
    if not moved:
        raise TrainingError(
            f"every weight still equals the base's, in {next(iter(trained.values())).dtype}",
            where=name,
            todo="train for more steps, raise train.learning_rate, or set model.dtype=float32",
        )
    return moved / total
