"""Does it fit? Weights, optimizer, activations and logits of the largest pass, reckoned before anything is loaded.

Activations are what autograd keeps of a forward pass, added up on the same model without storage (torch's meta
device), so that architecture, adapters and dropout count as they are.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.model.structure import causal_model
from pacos.train.optimization.frozen_head import CHUNK

if TYPE_CHECKING:
    import torch

GIB = 2**30
# What is reckoned leaves this for kernels' workspace, and for memory that is free but in pieces.
SPARE = 0.08
# Two widths tell what grows with the tokens from what grows with their square: attention by the meta device's
# unfused path, which no real device takes.
WIDTHS = (128, 256)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes on one device. `per_token` are activations; recomputed in the backward pass they come to `recomputed`."""

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

    def largest_pass(self, free: float) -> int:
        """Tokens that would fit, in whole 256s."""
        each = self.recomputed if self.checkpointing else self.per_token
        left = free * (1 - SPARE) - self.weights - self.trained - self.logits
        return max(0, int(left / each) // 256 * 256)

    def __str__(self) -> str:
        recomputed = ", recomputed" if self.checkpointing else ""
        parts = [
            f"{self.weights / GIB:.1f} GiB weights",
            f"{self.trained / GIB:.1f} what is trained, its gradients and optimizer",
            f"{self.activations / GIB:.1f} activations of {self.tokens:,} tokens{recomputed}",
            f"{self.logits / GIB:.1f} logits",
        ]
        return f"{' + '.join(parts)} = {self.total / GIB:.1f} GiB"


def fit(memory: Memory, config: Config, free: float) -> Memory:
    """Decide `train.checkpointing`: as asked, or where that is auto only if nothing else fits.

    Raises TrainingError, naming the keys to change, where it does not fit `free` bytes.
    """
    asked = config.train.checkpointing
    memory = replace(memory, checkpointing=asked is True)
    if asked == "auto" and not memory.fits(free):
        memory = replace(memory, checkpointing=True)
    if memory.fits(free):
        return memory
    raise TrainingError(
        f"{memory}, and the device has {free / GIB:.1f} GiB free",
        where="train.pack_tokens",
        todo=ways_out(memory, config, free),
    )


def ways_out(memory: Memory, config: Config, free: float) -> str:
    train = config.train
    smaller = memory.largest_pass(free)
    ways = [f"train.pack_tokens={smaller}"] if smaller >= train.row_tokens else []
    ways += [] if memory.checkpointing else ["train.checkpointing=auto"]
    if not ways and train.max_length > 256:
        ways += [f"a train.max_length under {train.max_length}"]
    ways += ["train.method=qlora"] if train.method == "lora" else []
    ways += ["train.method=lora"] if train.method == "full" else []
    return f"try {', '.join(ways)}, or more GPUs with configs/accelerate/fsdp2.yaml"


def free_memory(device: "torch.device") -> int:
    """Bytes: a GPU's own, or this process's share of what the machine has left."""
    import os

    import psutil
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def reckon(model: Any, config: Config, dtype: "torch.dtype", tokens: int, shares: int = 1) -> Memory:
    """`model` is on the meta device, as it will be trained; `shares` processes share its weights (FSDP), or 1."""
    import torch

    from pacos.train.model.quantization import PACKED, SCALES

    train = config.train
    width = torch.finfo(dtype).bits // 8
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    frozen = sum(weight.nbytes for weight in model.parameters() if not weight.requires_grad)
    packed = packed_weights(model) if train.method == "qlora" else 0
    per_token = activation_bytes(model)
    text = model.config.get_text_config()
    layer = per_token // text.num_hidden_layers
    rows = min(tokens, max(1, CHUNK // text.vocab_size))
    # float32 each: what is trained, its gradient and AdamW's two moments; a full tuning computes in a copy.
    state = sum(weight.numel() for weight in trained) * 16
    copies = sum(weight.numel() for weight in trained) * width if train.method == "full" else 0
    return Memory(
        weights=int((frozen - packed * (width - PACKED)) / shares + packed * SCALES),
        trained=(state + copies) // shares,
        per_token=per_token,
        recomputed=text.num_hidden_layers * text.hidden_size * width + layer,
        # In the base's precision and in float32, and the gradient of each.
        logits=rows * text.vocab_size * 2 * (width + 4),
        tokens=tokens,
    )


def packed_weights(model: Any) -> int:
    """How many weights QLoRA holds in 4 bits: those of linear layers, and not of the head."""
    import torch

    head = model.get_output_embeddings()
    linear = [module.weight for module in model.modules() if isinstance(module, torch.nn.Linear) if module is not head]
    return sum(weight.numel() for weight in linear if not weight.requires_grad)


def activation_bytes(model: Any) -> int:
    """What autograd keeps of the layers' forward pass, per token, without attention's square."""
    narrow, wide = (kept_bytes(model, width) for width in WIDTHS)
    return (4 * narrow - wide) // (2 * WIDTHS[0])


def kept_bytes(model: Any, width: int) -> int:
    """Bytes kept for the backward pass of a row of `width` tokens through the layers, weights left out."""
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
        layers = getattr(base, base.base_model_prefix)
        output = layers(input_ids=ids, attention_mask=mask, position_ids=ids, use_cache=False)
    assert output is not None  # The graph lives until here, and with it every storage in `kept`.
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
