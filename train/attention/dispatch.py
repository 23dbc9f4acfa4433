"""Who sees whom in a pack: one rule, executed document by document (any device), or on GPUs by FlashAttention's kernel
for sequences of varying length or by FlexAttention.

torch has no backward pass of FlexAttention on a CPU; tests run its forward there, and its backward without kernels.
"""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.model.precision import computing_dtype
from pacos.train.model.structure import causal_model
from pacos.train.packing.batch import Batch

if TYPE_CHECKING:
    import torch

FLEX = "flex_attention"
DOCUMENTS = "pacos_documents"
VARLEN = "pacos_varlen"


def attention_for(config: Config, device: "torch.device") -> str:
    """transformers' name of the attention to train with. Raises TrainingError for FlexAttention on a CPU."""
    from pacos.train.attention.varlen import runs_on

    if config.train.attention == FLEX:
        if device.type != "cuda":
            raise TrainingError(
                "FlexAttention has no backward pass on a CPU", where="train.attention", todo="leave it at sdpa"
            )
        return FLEX
    register_attention()
    return VARLEN if runs_on(device, computing_dtype(config)) else DOCUMENTS


def register_attention() -> None:
    """Make ours known to transformers; told of no documents, as when a model generates, they are sdpa."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    from pacos.train.attention.segments import document_attention
    from pacos.train.attention.varlen import varlen_attention

    for name, attention in ((DOCUMENTS, document_attention), (VARLEN, varlen_attention)):
        AttentionInterface.register(name, attention)
        AttentionMaskInterface.register(name, sdpa_mask)


@contextlib.contextmanager
def plain_attention(model: Any, name: str = "") -> Iterator[None]:
    """While it is open, `model` attends by transformers' own attention of that name, for what is not packed; unless
    given, by sdpa, or by eager where logits are capped."""
    causal = causal_model(model)
    ours = causal.config._attn_implementation
    capped = getattr(causal.config.get_text_config(), "attn_logit_softcapping", None)
    causal.set_attn_implementation(name or ("eager" if capped else "sdpa"))
    try:
        yield
    finally:
        causal.set_attn_implementation(ours)


def attention_arguments(batch: Batch, implementation: str) -> dict[str, Any]:
    """What the model's forward takes for the whole pass: made once, used in every layer.

    Raises TrainingError for an attention that knows nothing of documents.
    """
    from pacos.train.attention import segments as documents
    from pacos.train.attention import varlen

    positions, device = batch.ids.numel(), batch.ids.device
    if implementation == FLEX:
        return {"attention_mask": block_mask(batch)}
    # Four dimensions keep transformers from making a mask of its own, width squared; nobody reads it.
    unread = {"attention_mask": batch.ids.new_empty(1, 1, 1, 1)}
    if implementation == VARLEN:
        return unread | {"sequences": varlen.line_up(batch.spans, positions, device)}
    if implementation == DOCUMENTS:
        return unread | {"documents": documents.arrange(batch.spans, positions, device)}
    raise TrainingError(f"{implementation} attention cannot keep packed examples apart", where="train.attention")


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
    )
