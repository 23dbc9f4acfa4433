"""NEFTune (Jain et al. 2310.05914): uniform noise on the embeddings, in training alone.

The noise of a token is scaled by the length of its own example, as published: α / √(length · width). A pack says who
that is. transformers' rendering takes the padded width of the batch for the length.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pacos.train.packing.batch import PADDING, Batch

if TYPE_CHECKING:
    import torch


@contextlib.contextmanager
def noisy(embedding: Any, batch: Batch, alpha: float) -> Iterator[None]:
    """While it is open, what `embedding` gives for `batch` is noisy; torch's generator decides how."""
    hook = embedding.register_forward_hook(lambda module, given, output: output + noise(output, batch, alpha))
    try:
        yield
    finally:
        hook.remove()


def noise(embedded: "torch.Tensor", batch: Batch, alpha: float) -> "torch.Tensor":
    """[rows, width, size], of the embeddings' type. Every document must be an example, none a shared prefix."""
    import torch

    documents = batch.documents - PADDING
    counts = documents.new_zeros(documents.shape[0], documents.shape[1] + 1)
    counts.scatter_add_(1, documents, torch.ones_like(documents))
    lengths = counts.gather(1, documents)
    scale = alpha / (lengths * embedded.shape[-1]).sqrt()
    uniform = torch.rand(embedded.shape, device=embedded.device) * 2 - 1
    return (uniform * scale[..., None]).to(embedded.dtype)
