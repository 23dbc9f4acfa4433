"""NEFTune (Jain et al. 2310.05914): uniform noise on the embeddings, in training only.

A token's noise is scaled by the length of its own example, as published: α / √(length · width). transformers' version
uses the padded width of the batch for the length.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.packing.batch import PADDING, Batch

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def neftune_noise(embedding: Any, batch: Batch, alpha: float) -> Iterator[None]:
    """Add noise to the output of `embedding` for `batch`, drawn from torch's global generator."""
    hook = embedding.register_forward_hook(lambda module, given, output: output + noise(output, batch, alpha))
    try:
        yield
    finally:
        hook.remove()


def noise(embedded: "torch.Tensor", batch: Batch, alpha: float) -> "torch.Tensor":
    """[rows, width, size] noise in the embeddings' dtype. Every segment must be an example, not a shared prefix."""
    import torch

    segment_ids = batch.segment_ids - PADDING
    counts = segment_ids.new_zeros(segment_ids.shape[0], segment_ids.shape[1] + 1)
    counts.scatter_add_(1, segment_ids, torch.ones_like(segment_ids))
    lengths = counts.gather(1, segment_ids)
    scale = alpha / (lengths * embedded.shape[-1]).sqrt()
    uniform = torch.rand(embedded.shape, device=embedded.device) * 2 - 1
    return (uniform * scale[..., None]).to(embedded.dtype)
