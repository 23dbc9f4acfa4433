"""Saves and loads `checkpoints/step-N/`, which is complete or absent.

    step-N/adapter/    loads in PEFT and vLLM like the finished adapter
    step-N/state/      optimizer.safetensors, progress.json {step, fingerprint, best}; for full tuning
                       weights.safetensors, in float32, instead of the adapter
    step-N/COMPLETE    {file: sha256} of all of the above; written last, before the folder is renamed into place

Learning rate, data order and random numbers are functions of the step, so resuming needs only the step besides weights
and optimizer state. With `train.keep_best` it also needs to know which step was the best one up to this.
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

from pacos.adapters import WEIGHTS
from pacos.config import Config
from pacos.errors import DataError, RunError, TrainingError
from pacos.files import disk_error, file_sha256, read_object, write_json
from pacos.results import plain
from pacos.results.training import BestStep
from pacos.train.export.adapter import check_equal, write_adapter
from pacos.train.interfaces import method_of
from pacos.train.model.fsdp import shard_like
from pacos.train.model.structure import trainable_parameters
from pacos.weights import disk_failures

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


@dataclass(frozen=True)
class Checkpoint:
    """Weights and optimizer state after `step`, and the `fingerprint` of the run.

    `optimizer` maps "<parameter>/<AdamW's name>" to tensors. `weights` are by parameter name; an adapter's that were
    read from disk have PEFT's names. `best` is the best step so far with `train.keep_best`, None without.
    """

    step: int
    fingerprint: dict[str, Any]
    weights: "Mapping[str, torch.Tensor]"
    optimizer: "Mapping[str, torch.Tensor]"
    best: BestStep | None = None


class LazyTensors(Mapping[str, "torch.Tensor"]):
    """A safetensors file whose tensors are read on access, so that gigabytes are sent to other processes as a path."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names = list(self._open().keys())

    def _open(self) -> Any:
        from safetensors import safe_open

        if not self.path.is_file():
            raise RunError("is not visible to every process: full tuning needs a shared folder", where=str(self.path))
        return safe_open(self.path, framework="pt")

    def __getitem__(self, name: str) -> "torch.Tensor":
        tensor: torch.Tensor = self._open().get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, model: Any, config: Config) -> Path:
    """Write step-N, read it back, rename it into place; then remove all but the newest `train.keep` and the best.

    The checkpoint's tensors are full and on the CPU. Raises TrainingError as `check_finite`; RunError for a full disk,
    or files that read back wrong.
    """
    check_finite(checkpoint)
    target = folder / f"step-{checkpoint.step}"
    temporary = folder / f".step-{checkpoint.step}.new"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with disk_failures():
            _write(temporary, checkpoint, model, config)
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
        _sync(folder)
    except OSError as failure:
        raise disk_error(failure, target) from failure
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoint_folders(folder)[config.train.keep :]:
        if not checkpoint.best or old != best_folder(folder, checkpoint.best):
            (old / "COMPLETE").unlink(missing_ok=True)
            shutil.rmtree(old)
    return target


def check_finite(checkpoint: Checkpoint) -> None:
    """Raises TrainingError for weights or optimizer state that the last step has made infinite or NaN."""
    import torch

    for name, tensor in [*checkpoint.weights.items(), *checkpoint.optimizer.items()]:
        if not torch.isfinite(tensor).all():
            raise TrainingError(
                f"not finite after step {checkpoint.step}: {name}; it is not saved", todo="lower train.learning_rate"
            )


def _write(folder: Path, checkpoint: Checkpoint, model: Any, config: Config) -> None:
    from safetensors.torch import load_file, save_file

    (folder / "state").mkdir(parents=True)
    state = {"optimizer": checkpoint.optimizer}
    if method_of(config.train).result == "adapter":
        write_adapter(model, checkpoint.weights, config.student, folder / "adapter")
    else:
        state["weights"] = checkpoint.weights
    for name, tensors in state.items():
        save_file(dict(tensors), folder / "state" / f"{name}.safetensors")
        check_equal(load_file(folder / "state" / f"{name}.safetensors"), tensors, where=str(folder / "state"))
    progress = {"step": checkpoint.step, "fingerprint": checkpoint.fingerprint, "best": plain(checkpoint.best)}
    write_json(folder / "state" / "progress.json", progress)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        _sync(path)
    write_json(folder / "COMPLETE", {str(path.relative_to(folder)): file_sha256(path) for path in files})


def load_last_checkpoint(folder: Path, fingerprint: dict[str, Any]) -> Checkpoint | None:
    """The newest complete checkpoint, or None. Raises RunError where it belongs to another run."""
    for path in checkpoint_folders(folder):
        if damage := find_damage(path):
            log.warning("ignoring the damaged checkpoint %s: %s", path, damage)
            continue
        checkpoint = _read(path)
        _check_same_run(checkpoint.fingerprint, fingerprint, where=path)
        return checkpoint
    return None


def load_best_weights(folder: Path, best: BestStep) -> "Mapping[str, torch.Tensor]":
    """The weights after the best step, named as in `Checkpoint`. Raises RunError where its checkpoint is damaged."""
    path = best_folder(folder, best)
    if damage := find_damage(path):
        raise RunError(
            f"the checkpoint with the least held-out loss cannot be used: {damage}",
            where=str(path),
            todo="remove it and all later checkpoints and run again: training resumes before it",
        )
    return _read(path).weights


def best_folder(folder: Path, best: BestStep) -> Path:
    """Where the checkpoint of the best step is."""
    return folder / f"step-{best.step}"


def checkpoint_folders(folder: Path) -> list[Path]:
    """Every step-N, newest first, complete or not."""
    found = [path for path in folder.glob("step-*") if re.fullmatch(r"step-\d+", path.name)]
    return sorted(found, key=lambda path: -int(path.name.removeprefix("step-")))


def find_damage(path: Path) -> str:
    """Why a checkpoint cannot be used; "" for a complete one."""
    if not (path / "COMPLETE").is_file():
        return "it was never completed"
    try:
        listed = read_object(path / "COMPLETE", todo="")
    except DataError as failure:
        return f"its list of files, COMPLETE, cannot be read: {failure.what}"
    for name, sha256 in listed.items():
        if not (path / name).is_file():
            return f"{name} is missing"
        if file_sha256(path / name) != sha256:
            return f"{name} has changed since it was written"
    return ""


def restore(model: Any, optimizer: "torch.optim.Optimizer", checkpoint: Checkpoint) -> None:
    """Restore weights and optimizer state bit for bit, sharded or not, then or now."""
    restore_weights(model, checkpoint.weights)
    names = list(checkpoint.optimizer)
    for name, parameter in trainable_parameters(model).items():
        state = {key.rpartition("/")[2]: checkpoint.optimizer[key] for key in names if key.rpartition("/")[0] == name}
        # AdamW counts its steps in a CPU tensor unless it is fused.
        counter_device = parameter.device if optimizer.defaults["fused"] else "cpu"
        optimizer.state[parameter] = {
            key: shard_like(tensor, parameter) if tensor.dim() else tensor.to(counter_device)
            for key, tensor in state.items()
        }


def restore_weights(model: Any, weights: "Mapping[str, torch.Tensor]") -> None:
    """Set the trained weights to those of a checkpoint that was read from disk."""
    import torch
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    if hasattr(model, "peft_config"):
        current = get_peft_model_state_dict(model, save_embedding_layers=False)
        restored = {name: shard_like(weights[name], weight) for name, weight in current.items()}
        set_peft_model_state_dict(model, restored)
        return
    with torch.no_grad():
        for name, parameter in trainable_parameters(model).items():
            parameter.copy_(shard_like(weights[name], parameter))


def optimizer_tensors(model: Any, optimizer: "torch.optim.Optimizer") -> "dict[str, torch.Tensor]":
    """AdamW's state as it is in memory, sharded or not, as "<parameter>/<AdamW's name>"."""
    return {
        f"{name}/{key}": tensor
        for name, parameter in trainable_parameters(model).items()
        for key, tensor in optimizer.state[parameter].items()
    }


def _read(path: Path) -> Checkpoint:
    from safetensors.torch import load_file

    state = path / "state"
    progress = json.loads((state / "progress.json").read_text(encoding="utf-8"))
    best = BestStep(**progress["best"]) if progress.get("best") else None
    weights: Mapping[str, torch.Tensor]
    optimizer: Mapping[str, torch.Tensor]
    if (state / "weights.safetensors").is_file():
        weights, optimizer = (LazyTensors(state / f"{name}.safetensors") for name in ("weights", "optimizer"))
    else:
        weights, optimizer = load_file(path / "adapter" / WEIGHTS), load_file(state / "optimizer.safetensors")
    return Checkpoint(progress["step"], progress["fingerprint"], weights, optimizer, best)


def _check_same_run(found: dict[str, Any], wanted: dict[str, Any], *, where: Path) -> None:
    changed = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
    if changed:
        raise RunError(
            f"these checkpoints were trained with another {', '.join(changed)}; resuming would mix two runs",
            where=str(where.parent),
            todo="change it back to resume, remove that folder to start over, or choose another `name`",
        )


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
