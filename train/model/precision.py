"""The dtype that a model is trained in: the checkpoint's or `model.dtype`, and what this machine computes it in."""

import logging
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.models import load_model_config
from pacos.serving.cpu import has_amx
from pacos.train.distributed import has_gpu
from pacos.train.model.fsdp import sharding_asked

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def training_dtype(config: Config) -> "torch.dtype":
    """`model.dtype`, or the checkpoint's. A float16 base trains in bfloat16: without loss scaling, float16
    activations' gradients underflow to zero."""
    import torch

    wanted = config.model.dtype
    if wanted == "auto":
        dtype = load_model_config(config.student, config.model).dtype or torch.float32
    else:
        dtype = getattr(torch, wanted)
    if dtype == torch.float16:
        log.warning("the float16 base is trained in bfloat16: float16 gradients would underflow")
        return torch.bfloat16
    return dtype  # type: ignore[no-any-return]


def computing_dtype(config: Config) -> "torch.dtype":
    """`training_dtype`; on a CPU without AMX, float32 in place of bfloat16.

    bfloat16 trains at two thirds of float32's speed there with AVX-512, and ten to a hundred times more slowly without.
    The weights keep their values, and a full tuning is saved in bfloat16 all the same.
    """
    import torch

    dtype = training_dtype(config)
    if dtype != torch.bfloat16 or has_gpu() or sharding_asked() or has_amx():
        return dtype
    return torch.float32


def precision(config: Config) -> str:
    """`computing_dtype`, in words."""
    asked, computed = (str(dtype(config)).removeprefix("torch.") for dtype in (training_dtype, computing_dtype))
    return computed if asked == computed else f"{computed} (this CPU is slower in {asked})"


def computed_in(dtype: "torch.dtype", model: Any, device: "torch.device | str") -> Any:
    """A model whose float32 weights are cast for each product. Sharded, `shard` casts them as it fetches them."""
    import torch

    if dtype != torch.float32 and not sharding_asked():
        model.forward = torch.autocast(torch.device(device).type, dtype=dtype)(model.forward)
    return model
