"""FSDP: shards the model over the processes, for one that does not fit on a device beside its activations.

accelerate's configuration enables it and torch's `fully_shard` does it, one group per decoder layer and one for the
rest; accelerate itself would shard on GPUs only and silently fall back to DDP on a CPU. Weights, gradients and
optimizer state become DTensors sharded along dimension 0. Gathering, computing and sharding are collectives: every
process calls these functions, in the same order.

Tested on two gloo processes (tests/train/test_fsdp.py); not yet run on several GPUs.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pacos.errors import TrainingError

if TYPE_CHECKING:
    import torch

# Keys of accelerate's file that change how FSDP works, the environment variable of each, and its supported values.
# A variable that is not set counts as supported, except the version, whose default in accelerate is 1.
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


def fsdp_enabled() -> bool:
    """Whether this process was launched with accelerate's `distributed_type: FSDP`."""
    return os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def check_fsdp_settings() -> None:
    """Raises TrainingError for an FSDP setting that is not supported, naming its key."""
    for key, (variable, supported) in SUPPORTED.items():
        given = os.environ.get(variable, "1" if key == "fsdp_version" else None)
        if given is not None and given.lower() not in supported:
            reason = f"only {' or '.join(supported)} is supported" if supported else "which is not supported"
            raise TrainingError(
                f"FSDP is configured with {key}: {given}; {reason}",
                where="accelerate's configuration",
                todo="use configs/accelerate/fsdp2.yaml",
            )


def shard(model: Any, base: Any, device: "torch.device", processes: int, dtype: "torch.dtype | None" = None) -> None:
    """Shard a model that is on the CPU, equal on every process, and keep this process's shard on `device`.

    `base` is transformers' model inside it. With `dtype`, weights are cast as they are gathered, and gradients are
    reduced in float32.

    Layers move one by one, so that no device ever holds more than one layer, or the embeddings, unsharded; every
    process does hold a CPU copy before. Frozen weights keep their dtype: a group needs one dtype among its trained
    weights only, and adapters are float32 (`_init_mp_dtypes` in
    torch/distributed/fsdp/_fully_shard/_fsdp_param_group.py).
    Raises TrainingError for a model that does not name its decoder layers.
    """
    import torch
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

    kinds = set(base._no_split_modules or ())
    layers = [module for module in base.modules() if type(module).__name__ in kinds]
    if not layers:
        raise TrainingError(
            "transformers does not name this model's layers (`_no_split_modules`), which sharding needs",
            where=type(base).__name__,
            todo="use configs/accelerate/ddp.yaml or single.yaml",
        )
    mesh = init_device_mesh(device.type, (processes,))
    policy = MixedPrecisionPolicy(dtype, torch.float32) if dtype else MixedPrecisionPolicy()
    reshard_layers = os.environ.get("FSDP_RESHARD_AFTER_FORWARD", "true").lower() == "true"
    for layer in layers:
        fully_shard(layer, mesh=mesh, mp_policy=policy, reshard_after_forward=reshard_layers)
    # The backward pass starts with the root's weights: resharding in between would only gather them twice.
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def is_sharded(model: Any) -> bool:
    """Whether `shard` has been applied."""
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)


def reshard(model: Any) -> None:
    """Free gathered weights after a forward pass without a backward pass, which leaves them in place."""
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@contextlib.contextmanager
def no_sync(model: Any) -> Iterator[None]:
    """Accumulate unsharded gradients on each process; the next backward pass outside reduces their sum."""
    model.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        model.set_requires_gradient_sync(True)


def full_tensor(tensor: "torch.Tensor") -> "torch.Tensor":
    """The full tensor of a sharded one, on every process; any other unchanged."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def full_tensors(tensors: "Mapping[str, torch.Tensor]", *, keep: bool) -> "dict[str, torch.Tensor]":
    """Full tensors on the CPU, where `keep`; the other processes only take part, one tensor at a time."""
    gathered = {}
    for name, tensor in tensors.items():
        full = full_tensor(tensor.detach())
        if keep:
            gathered[name] = full.cpu().contiguous()
    return gathered


def shard_like(tensor: "torch.Tensor", like: "torch.Tensor") -> "torch.Tensor":
    """A full tensor, equal on every process, moved to the device of `like` and sharded in the same way."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    moved = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return moved
    return distribute_tensor(moved, like.device_mesh, like.placements, src_data_rank=None)
