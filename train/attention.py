"""Who sees whom in a pack: one rule, executed document by document (any device) or by FlexAttention (GPU).

torch has no backward pass of FlexAttention on a CPU; tests run its forward there, and its backward without kernels.
"""

from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.batches import Batch

if TYPE_CHECKING:
    import torch

FLEX = "flex_attention"
DOCUMENTS = "pacos_documents"


def attention_for(config: Config, device: "torch.device") -> str:
    """transformers' name of the attention to train with. Raises TrainingError for FlexAttention on a CPU."""
    if config.train.attention == FLEX:
        if device.type != "cuda":
            raise TrainingError(
                "FlexAttention has no backward pass on a CPU", where="train.attention", todo="leave it at sdpa"
            )
        return FLEX
    register_documents()
    return DOCUMENTS


def register_documents() -> None:
    """Make DOCUMENTS known to transformers; without `documents`, as when a model generates, it is sdpa."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    from pacos.train.documents import document_attention

    AttentionInterface.register(DOCUMENTS, document_attention)
    AttentionMaskInterface.register(DOCUMENTS, sdpa_mask)


def attention_arguments(batch: Batch, implementation: str) -> dict[str, Any]:
    """What the model's forward takes for the whole pass: made once, used in every layer.

    Raises TrainingError for an attention that knows nothing of documents.
    """
    if implementation == FLEX:
        return {"attention_mask": block_mask(batch)}
    if implementation != DOCUMENTS:
        raise TrainingError(f"{implementation} attention cannot keep packed examples apart", where="train.attention")
    # Four dimensions keep transformers from making a mask of its own, width squared; nobody reads it.
    return {"attention_mask": batch.ids.new_empty(1, 1, 1, 1), "documents": batch.arranged}


def visible(batch: Batch, row: Any, query: Any, key: Any) -> Any:
    """Whether position `query` of `row` may look at `key`; the indices are tensors that broadcast.

    Its own document or the prefix of it, and not ahead. Padding sees padding, so that no query sees nothing (softmax
    over nothing is NaN).
    """
    own = batch.documents[row, query] == batch.documents[row, key]
    prefix = batch.seen[row, query] == batch.documents[row, key]
    return (key <= query) & (own | prefix)


def block_mask(batch: Batch) -> Any:
    """A BlockMask for all heads: blocks of 128 × 128 that nobody may look at are not computed."""
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
