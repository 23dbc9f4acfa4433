"""The base shared out over the processes (FSDP), for a model that one device does not hold beside its activations.

accelerate's configuration asks for it and torch's `fully_shard` does it, one group per decoder layer and one for the
rest; accelerate would shard on GPUs only and on a CPU fall back to DDP without a word. Weights, gradients and
optimizer state become DTensors cut along dimension 0. What is gathered, computed or cut here is a collective:
every process calls it, in the same order.

Run so far on two gloo processes (tests/test_sharding.py); on several GPUs it has not been run yet.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pacos.errors import TrainingError

if TYPE_CHECKING:
    import torch

# Keys of accelerate's file that would change what is done, the variable each becomes, and what is supported of it.
# A variable that is not set counts as supported, but for the version, which accelerate then takes to be 1.
SUPPORTED = {
    "fsdp_version": ("FSDP_VERSION", ("2",)),
    "fsdp_reshard_after_forward": ("FSDP_RESHARD_AFTER_FORWARD", ("true", "false")),
    "fsdp_auto_wrap_policy": ("FSDP_AUTO_WRAP_POLICY", ("transformer_based_wrap",)),
    "fsdp_transformer_layer_cls_to_wrap": ("FSDP_TRANSFORMER_CLS_TO_WRAP", ()),
    "fsdp_ignored_modules": ("FSDP_IGNORED_MODULES", ()),
    "fsdp_offload_params": ("FSDP_OFFLOAD_PARAMS", ("false",)),
    "fsdp_cpu_ram_efficient_loading": ("FSDP_CPU_RAM_EFFICIENT_LOADING", ("false",)),
    "fsdp_activation_checkpointing": ("FSDP_ACTIVATION_CHECKPOINTING", ("false",)),
    "fsdp_activation_checkpointing_offload": ("FSDP_ACTIVATION_CHECKPOINTING_OFFLOAD", ("false",)),
    "fsdp_state_dict_type": ("FSDP_STATE_DICT_TYPE", ("full_state_dict",)),
    "parallelism_config": ("ACCELERATE_USE_PARALLELISM_CONFIG", ("false",)),
    "dynamo_backend": ("ACCELERATE_DYNAMO_BACKEND", ("no",)),
}


def sharding_asked() -> bool:
    """Whether this process was launched with accelerate's `distributed_type: FSDP`."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_settings() -> None:
    """Raises TrainingError for a setting of FSDP that would not be honoured, naming its key."""
    for key, (variable, supported) in SUPPORTED.items():
        given = os.environ.get(variable, "1" if key == "fsdp_version" else None)
        if given is not None and given.lower() not in supported:
            takes = f"only {' or '.join(supported)} is supported" if supported else "which is not supported"
            raise TrainingError(
                f"FSDP is asked for with {key}: {given}; {takes}",
                where="accelerate's configuration",
                todo="use configs/accelerate/fsdp2.yaml",
            )


def shard(model: Any, base: Any, device: "torch.device", processes: int, dtype: "torch.dtype | None" = None) -> None:
    """Cut a model that lies on the CPU, equal on every process, and keep this process's share on `device`.

    `base` is transformers' model inside it. With `dtype` weights are cast as they are fetched, and gradients come
    together in float32.

    It moves layer by layer, so that no device ever holds more whole than one layer, or the embeddings; each process
    does hold a CPU copy before. Frozen weights keep their dtype: a group needs one among what is trained only, and
    adapters are float32 (`_init_mp_dtypes` in torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py).
    Raises TrainingError for a model that does not name its decoder layers.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    kinds = set(base._no_split_modules or ())
    layers = [module for module in base.modules() if type(module).__name__ in kinds]
    if not layers:
        raise TrainingError(
            "transformers does not say which modules are this model's layers (`_no_split_modules`), to shard it by",
            where=type(base).__name__,
            todo="use configs/accelerate/ddp.yaml or single.yaml",
        )
    mesh = init_device_mesh(device.type, (processes,))
    policy = MixedPrecisionPolicy(dtype, torch.float32) if dtype else MixedPrecisionPolicy()
    again = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() == "true"
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=again)
    # Backward starts with the root's weights: giving them away in between would only fetch them twice.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def is_sharded(model: Any) -> bool:
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def reshard(model: Any) -> None:
    """After a forward without a backward, which leaves whole weights in the place of the shards."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextlib.contextmanager
def no_sync(model: Any) -> Iterator[None]:
    """Gradients of the passes inside add up on their process, whole; the next pass outside shares out their sum."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def whole(tensor: "torch.Tensor") -> "torch.Tensor":
    """All of a sharded tensor, on every process; any other as it is."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gather(tensors: "Mapping[str, torch.Tensor]", *, keep: bool) -> "dict[str, torch.Tensor]":
    """Whole tensors on the CPU, where `keep`; the other processes only take part, one tensor at a time."""
    gathered = {}
    for name, tensor in tensors.items():
        full = whole(tensor.detach())
        if keep:
            gathered[name] = full.cpu().contiguous()
    return gathered


def place_like(tensor: "torch.Tensor", held: "torch.Tensor") -> "torch.Tensor":
    """A whole tensor, equal on every process, on the device of `held` and cut like it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    there = tensor.to(held.device)
    if not isinstance(held, DTensor):
        return there
    return distribute_tensor(there, held.device_mesh, held.placements, src_data_rank=None)
