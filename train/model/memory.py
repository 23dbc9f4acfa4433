"""Estimates whether training fits in memory, before anything is loaded: weights, optimizer, activations, logits.

Activations are what autograd keeps of a forward pass, added up on the same model without storage (torch's meta
device), so that architecture, adapters and dropout are taken into account.
"""

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import psutil

from pacos.config import TrainConfig
from pacos.errors import TrainingError
from pacos.train.attention.dispatch import accepted
from pacos.train.interfaces import method_of
from pacos.train.model.load import MetaDeviceError
from pacos.train.model.structure import CHUNK_LOGITS, causal_model

if TYPE_CHECKING:
    import torch

GIB = 2**30
# Share of the free memory left for kernels' workspace and fragmentation.
SPARE = 0.08
# Bytes per 4-bit weight: packed, and its scales (2305.14314, section 3: 8 bits for 64 weights, 32 for 256 of these).
PACKED_BYTES, SCALE_BYTES = 0.5, 1 / 64 + 4 / (64 * 256)
# Two widths separate what grows with the tokens from what grows with their square: attention on the meta device's
# unfused path, which no real device takes.
WIDTHS = (128, 256)


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """Bytes on one device. `per_token` are activations; recomputed in the backward pass they are `recomputed`."""

    weights: int
    trained: int
    per_token: int
    recomputed: int
    logits: int
    tokens: int
    checkpointing: bool = False

    @property
    def activations(self) -> int:
        return self.tokens * (self.recomputed if self.checkpointing else self.per_token)

    @property
    def total(self) -> int:
        return self.weights + self.trained + self.activations + self.logits

    def fits(self, free: float) -> bool:
        return self.total <= free * (1 - SPARE)

    def largest_micro_batch(self, free: float) -> int:
        """Tokens that would fit, a multiple of 256."""
        each = self.recomputed if self.checkpointing else self.per_token
        left = free * (1 - SPARE) - self.weights - self.trained - self.logits
        return max(0, int(left / each) // 256 * 256)

    def __str__(self) -> str:
        recomputed = ", recomputed" if self.checkpointing else ""
        parts = [
            f"{self.weights / GIB:.1f} GiB weights",
            f"{self.trained / GIB:.1f} trained weights, gradients and optimizer state",
            f"{self.activations / GIB:.1f} activations of {self.tokens:,} tokens{recomputed}",
            f"{self.logits / GIB:.1f} logits",
        ]
        return f"{' + '.join(parts)} = {self.total / GIB:.1f} GiB"


def fit_memory(memory: MemoryEstimate, train: TrainConfig, free: float) -> MemoryEstimate:
    """Decide `train.checkpointing`: as configured, or for "auto" only where the run would not fit otherwise.

    Raises TrainingError, naming the keys to change, where it does not fit in `free` bytes.
    """
    memory = replace(memory, checkpointing=train.checkpointing is True)
    if train.checkpointing == "auto" and not memory.fits(free):
        memory = replace(memory, checkpointing=True)
    if memory.fits(free):
        return memory
    raise TrainingError(
        f"{memory}, and the device has {free / GIB:.1f} GiB free",
        where="train.pack_tokens",
        todo=ways_to_fit(memory, train, free),
    )


def ways_to_fit(memory: MemoryEstimate, train: TrainConfig, free: float) -> str:
    """Settings that would need less memory, as a hint."""
    smaller, lighter = memory.largest_micro_batch(free), method_of(train).lighter
    ways = [f"train.pack_tokens={smaller}"] if smaller >= train.row_tokens else []
    ways += [] if memory.checkpointing else ["train.checkpointing=auto"]
    if not ways and train.max_length > 256:
        ways += [f"a train.max_length under {train.max_length}"]
    ways += [f"train.method={lighter}"] if lighter else []
    return f"try {', '.join(ways)}, or more GPUs with configs/accelerate/fsdp2.yaml"


def free_memory(device: "torch.device") -> int:
    """Free bytes: a GPU's, or this process's share of the machine's."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def estimate_memory(
    model: Any, train: TrainConfig, dtype: "torch.dtype", tokens: int, shares: int = 1
) -> MemoryEstimate:
    """Estimate a micro-batch of `tokens` from the model on the meta device, ready to train.

    `shares` is the number of processes that its weights are sharded over (FSDP), or 1. Raises MetaDeviceError where the
    model cannot be run without storage: mixtures of experts, rotary embeddings that look at positions.
    """
    try:
        return _estimate(model, train, dtype, tokens, shares)
    except Exception as failure:  # An architecture's own code, on a device that it was not written for.
        raise MetaDeviceError(f"cannot be run without storage: {failure}", where=model.name_or_path) from failure


def _estimate(model: Any, train: TrainConfig, dtype: "torch.dtype", tokens: int, shares: int) -> MemoryEstimate:
    import torch

    method = method_of(train)
    width = torch.finfo(dtype).bits // 8
    trained = sum(weight.numel() for weight in model.parameters() if weight.requires_grad)
    frozen = sum(weight.nbytes for weight in model.parameters() if not weight.requires_grad)
    packed = quantized_weights(model) if method.four_bit else 0
    per_token = activation_bytes(model)
    text = model.config.get_text_config()
    layer = per_token // text.num_hidden_layers
    rows = min(tokens, max(1, CHUNK_LOGITS // text.vocab_size))
    # float32 each: the weight, its gradient and AdamW's two moments; full tuning computes in a copy.
    per_weight = 16 + (width if method.trains_base else 0)
    return MemoryEstimate(
        weights=int((frozen - packed * (width - PACKED_BYTES)) / shares + packed * SCALE_BYTES),
        trained=trained * per_weight // shares,
        per_token=per_token,
        recomputed=text.num_hidden_layers * text.hidden_size * width + layer,
        # In the base's precision and in float32, and the gradient of each.
        logits=rows * text.vocab_size * 2 * (width + 4),
        tokens=tokens,
    )


def quantized_weights(model: Any) -> int:
    """Number of weights that QLoRA holds in 4 bits: those of all linear layers but the head."""
    import torch

    head = model.get_output_embeddings()
    linear = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear) if module is not head]
    return sum(weight.numel() for weight in linear if not weight.requires_grad)


def activation_bytes(model: Any) -> int:
    """Bytes that autograd keeps of the layers' forward pass, per token, without the square of attention."""
    narrow, wide = (kept_bytes(model, width) for width in WIDTHS)
    return (4 * narrow - wide) // (2 * WIDTHS[0])


def kept_bytes(model: Any, width: int) -> int:
    """Bytes kept for the backward pass of a row of `width` tokens through the layers, without weights."""
    import torch

    weights = {weight.untyped_storage()._cdata for weight in model.parameters()}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if (storage := tensor.untyped_storage()._cdata) not in weights:
            kept[storage] = tensor
        return tensor

    base = causal_model(model)
    ids = torch.zeros(1, width, dtype=torch.long, device="meta")
    mask = torch.ones(1, 1, width, width, dtype=torch.bool, device="meta")
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        layers = getattr(base, base.base_model_prefix, None) or getattr(base, "model", base)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": ids, "use_cache": False}
        output = layers(**accepted(layers, inputs))
    assert output is not None  # The graph lives until here, and with it every storage in `kept`.
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
