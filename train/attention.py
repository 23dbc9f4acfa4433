"""Who sees whom in a pack: one definition, executed as a dense mask (any device) or as FlexAttention's (GPU).

FlexAttention skips every block of 128 × 128 that nobody in it may look at; the dense mask computes them all. torch
has no backward pass of FlexAttention on a CPU, so there tests run its forward, and its backward without kernels.
"""

from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.batches import Batch

if TYPE_CHECKING:
    import torch

FLEX = "flex_attention"


def attention_for(config: Config, device: "torch.device") -> str:
    """transformers' name of the attention to train with. Raises TrainingError for FlexAttention on a CPU."""
    asked = config.train.attention
    if asked == FLEX and device.type != "cuda":
        raise TrainingError(
            "FlexAttention has no backward pass on a CPU", where="train.attention", todo="leave it at sdpa"
        )
    return asked


def visible(batch: Batch, row: Any, query: Any, key: Any) -> Any:
    """Whether position `query` of `row` may look at `key`; the indices are tensors that broadcast.

    Its own document or the prefix of it, and not ahead. Padding sees padding, so that no query sees nothing (softmax
    over nothing is NaN).
    """
    own = batch.documents[row, query] == batch.documents[row, key]
    prefix = batch.seen[row, query] == batch.documents[row, key]
    return (key <= query) & (own | prefix)


def attention_mask(batch: Batch, implementation: str) -> Any:
    """What transformers takes as `attention_mask` for the whole pass: made once, used in every layer."""
    return block_mask(batch) if implementation == FLEX else dense_mask(batch)


def dense_mask(batch: Batch) -> "torch.Tensor":
    """[rows, 1, width, width] bool, True where a query may look."""
    import torch

    rows, width = batch.ids.shape
    row = torch.arange(rows, device=batch.ids.device)[:, None, None]
    place = torch.arange(width, device=batch.ids.device)
    mask: torch.Tensor = visible(batch, row, place[:, None], place)
    return mask[:, None]


def block_mask(batch: Batch) -> Any:
    """A BlockMask for all heads."""
    from torch.nn.attention.flex_attention import create_block_mask

    rows, width = batch.ids.shape
    return create_block_mask(
        lambda row, head, query, key: visible(batch, row, query, key),
        B=rows,
        H=None,
        Q_LEN=width,
        KV_LEN=width,
        device=batch.ids.device,
        # Without, all width² entries are laid out at once.
        _compile=batch.ids.device.type == "cuda",
    )
