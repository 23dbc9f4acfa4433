"""`checkpoints/step-N/`: complete or absent, never half.

    step-N/adapter/    loads in PEFT and vLLM like the finished one
    step-N/state/      optimizer.safetensors, progress.json {step, fingerprint}; of a full tuning weights.safetensors,
                       float32, in place of the adapter
    step-N/COMPLETE    {file: sha256} of all of the above; written last, before the folder is renamed into place

Learning rate, data order and random numbers are functions of the step, so the step is all that resume needs
besides weights and optimizer state.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import RunError
from pacos.records import disk_error, write_json
from pacos.runs import file_sha256
from pacos.train.export.adapter import check_equal, write_adapter
from pacos.train.model.fsdp import place_like
from pacos.train.model.start import WEIGHTS
from pacos.train.model.structure import trainable_parameters

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint. `optimizer` holds "<parameter>/<AdamW's name>" → tensor; `weights` an adapter's under
    PEFT's names, a whole model's by parameter."""

    step: int
    fingerprint: dict[str, Any]
    weights: "Mapping[str, torch.Tensor]"
    optimizer: "Mapping[str, torch.Tensor]"


class Tensors(Mapping[str, "torch.Tensor"]):
    """A safetensors file, of which each tensor is read when it is asked for: gigabytes that travel as a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = list(self._open().keys())

    def _open(self) -> Any:
        from safetensors import safe_open

        if not self.path.is_file():
            raise RunError("is not seen by every process: full tuning needs one folder for all", where=str(self.path))
        return safe_open(self.path, framework="pt")

    def __getitem__(self, name: str) -> "torch.Tensor":
        tensor: torch.Tensor = self._open().get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def save_checkpoint(
    folder: Path,
    model: Any,
    weights: "dict[str, torch.Tensor]",
    state: "dict[str, torch.Tensor]",
    step: int,
    fingerprint: dict[str, Any],
    config: Config,
) -> Path:
    """`weights` by parameter and `state` as `optimizer_tensors` names it are whole and on the CPU.

    Write step-N aside, read it back, rename it into place; then remove complete ones beyond `train.keep`.
    """
    from safetensors.torch import load_file, save_file

    target = folder / f"step-{step}"
    aside = folder / f".step-{step}.new"
    shutil.rmtree(aside, ignore_errors=True)
    try:
        (aside / "state").mkdir(parents=True)
        kept = {"optimizer": state}
        if config.train.method == "full":
            kept["weights"] = weights
        else:
            write_adapter(model, weights, config, aside / "adapter")
        for name, tensors in kept.items():
            save_file(tensors, aside / "state" / f"{name}.safetensors")
            check_equal(load_file(aside / "state" / f"{name}.safetensors"), tensors, where=str(aside / "state"))
        write_json(aside / "state" / "progress.json", {"step": step, "fingerprint": fingerprint})
        files = sorted(path for path in aside.rglob("*") if path.is_file())
        for path in files:
            _sync(path)
        write_json(aside / "COMPLETE", {str(path.relative_to(aside)): file_sha256(path) for path in files})
        shutil.rmtree(target, ignore_errors=True)
        aside.rename(target)
        _sync(folder)
    except OSError as failure:
        shutil.rmtree(aside, ignore_errors=True)
        raise disk_error(failure, target) from failure
    for old in checkpoint_folders(folder)[config.train.keep :]:
        (old / "COMPLETE").unlink(missing_ok=True)
        shutil.rmtree(old)
    return target


def load_last_checkpoint(folder: Path, fingerprint: dict[str, Any]) -> Checkpoint | None:
    """The newest complete checkpoint, or None. Raises RunError when it belongs to another run than this one."""
    for path in checkpoint_folders(folder):
        if damage := find_damage(path):
            log.warning("passing over %s: %s", path, damage)
            continue
        checkpoint = _read(path)
        _check_same_run(checkpoint.fingerprint, fingerprint, where=path)
        return checkpoint
    return None


def checkpoint_folders(folder: Path) -> list[Path]:
    """Every step-N, newest first, complete or not."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: -int(path.name.removeprefix("step-")))


def find_damage(path: Path) -> str:
    """Why a checkpoint must not be used; "" for one that is complete."""
    try:
        listed = json.loads((path / "COMPLETE").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return "it was never completed"
    for name, sha256 in listed.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if file_sha256(path / name) != sha256:
            return f"{name} has changed since it was written"
    return ""


def restore(model: Any, optimizer: "torch.optim.Optimizer", checkpoint: Checkpoint) -> None:
    """Put weights and optimizer state back, bit for bit, whether or not they were sharded then or are now."""
    import torch
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    parameters = trainable_parameters(model)
    if hasattr(model, "peft_config"):
        held = get_peft_model_state_dict(model, save_embedding_layers=False)
        set_peft_model_state_dict(model, {name: place_like(checkpoint.weights[name], held[name]) for name in held})
    else:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(place_like(checkpoint.weights[name], parameter))
    names = list(checkpoint.optimizer)
    for name, parameter in parameters.items():
        state = {key.rpartition("/")[2]: checkpoint.optimizer[key] for key in names if key.rpartition("/")[0] == name}
        # AdamW counts its steps in a CPU tensor unless it is fused.
        counts = parameter.device if optimizer.defaults["fused"] else "cpu"
        optimizer.state[parameter] = {
            key: place_like(tensor, parameter) if tensor.dim() else tensor.to(counts) for key, tensor in state.items()
        }


def optimizer_tensors(model: Any, optimizer: "torch.optim.Optimizer") -> "dict[str, torch.Tensor]":
    """AdamW's state as it lies in memory, sharded or whole, under "<parameter>/<AdamW's name>"."""
    return {
        f"{name}/{key}": tensor
        for name, parameter in trainable_parameters(model).items()
        for key, tensor in optimizer.state[parameter].items()
    }


def _read(path: Path) -> Checkpoint:
    from safetensors.torch import load_file

    state = path / "state"
    progress = json.loads((state / "progress.json").read_text(encoding="utf-8"))
    if (state / "weights.safetensors").is_file():
        weights, optimizer = (Tensors(state / f"{name}.safetensors") for name in ("weights", "optimizer"))
        return Checkpoint(progress["step"], progress["fingerprint"], weights, optimizer)
    adapter, moments = load_file(path / "adapter" / WEIGHTS), load_file(state / "optimizer.safetensors")
    return Checkpoint(progress["step"], progress["fingerprint"], adapter, moments)


def _check_same_run(found: dict[str, Any], wanted: dict[str, Any], *, where: Path) -> None:
    changed = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if changed:
        raise RunError(
            f"these checkpoints were trained with another {', '.join(changed)}; going on would mix two runs",
            where=str(where.parent),
            todo="change it back to go on, remove that folder to start over, or choose another `name`",
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
