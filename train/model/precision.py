"""The dtype that a model is trained in: the checkpoint's or `model.dtype`, and what this machine computes in."""

import logging
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.models import load_model_config
from pacos.serving.cpu import has_amx
from pacos.train.distributed import has_gpu
from pacos.train.model.fsdp import fsdp_enabled

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def training_dtype(config: Config) -> "torch.dtype":
    """`model.dtype`, or the checkpoint's; bfloat16 for float16.

    Without loss scaling, the gradients of float16 activations underflow to zero.
    """
    import torch

    wanted = config.model.dtype
    if wanted == "auto":
        dtype: torch.dtype = load_model_config(config.student, config.model).dtype or torch.float32
    else:
        dtype = getattr(torch, wanted)
    if dtype == torch.float16:
        log.warning("the float16 base is trained in bfloat16: float16 gradients would underflow")
        return torch.bfloat16
    return dtype


def computing_dtype(config: Config) -> "torch.dtype":
    """`training_dtype`; on a CPU without AMX, float32 instead of bfloat16.

    bfloat16 trains at two thirds of float32's speed there with AVX-512, and ten to a hundred times more slowly without.
    The weights keep their values, and a fully tuned model is still saved in bfloat16.
    """
    import torch

    dtype = training_dtype(config)
    if dtype != torch.bfloat16 or has_gpu() or fsdp_enabled() or has_amx():
        return dtype
    return torch.float32


def precision_name(config: Config) -> str:
    """`computing_dtype` for messages, with the reason where it is not `training_dtype`."""
    asked, computed = (str(dtype(config)).removeprefix("torch.") for dtype in (training_dtype, computing_dtype))
    return computed if asked == computed else f"{computed} (this CPU is slower in {asked})"


def autocast_forward(model: Any, dtype: "torch.dtype", device: "torch.device | str") -> Any:
    """Make a model with float32 weights compute in `dtype`. With FSDP, `shard` casts the weights as it gathers them."""
    import torch

    if dtype != torch.float32 and not fsdp_enabled():
        model.forward = torch.autocast(torch.device(device).type, dtype=dtype)(model.forward)
    return model
