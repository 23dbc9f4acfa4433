"""Attention mask for packed sequences: one rule, and the three implementations that execute it.

Segment by segment (any device), FlashAttention's kernel for sequences of varying length, or FlexAttention (both on
GPUs). torch has no backward pass of FlexAttention on a CPU; tests run its forward there, and its backward without
kernels. A model that cannot be packed keeps transformers' own attention, with a mask of padding.
"""

import contextlib
import inspect
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import TrainingError
from pacos.train.model.precision import computing_dtype
from pacos.train.model.structure import causal_model
from pacos.train.packing.batch import PADDING, Batch

if TYPE_CHECKING:
    import torch

FLEX = "flex_attention"
SEGMENTS = "pacos_segments"
VARLEN = "pacos_varlen"
# Implementations that keep the segments of a row apart.
PACKING = (FLEX, SEGMENTS, VARLEN)


def attention_for(config: Config, device: "torch.device") -> str:
    """transformers' name of the attention to train with. Raises TrainingError for FlexAttention on a CPU."""
    from pacos.train.attention.varlen import kernel_available

    if config.train.attention == FLEX:
        if device.type != "cuda":
            raise TrainingError(
                "FlexAttention has no backward pass on a CPU", where="train.attention", todo="leave it at sdpa"
            )
        return FLEX
    register_attention()
    return VARLEN if kernel_available(device, computing_dtype(config)) else SEGMENTS


def register_attention() -> None:
    """Register our attention functions with transformers; without segments, as in generation, they are sdpa."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    from pacos.train.attention.segments import segment_attention
    from pacos.train.attention.varlen import varlen_attention

    for name, attention in ((SEGMENTS, segment_attention), (VARLEN, varlen_attention)):
        AttentionInterface.register(name, attention)
        AttentionMaskInterface.register(name, sdpa_mask)


@contextlib.contextmanager
def plain_attention(model: Any, name: str = "") -> Iterator[None]:
    """Use transformers' own attention of that name, for input that is not packed.

    The default is the model's own where it is not packed; else sdpa, or eager where sdpa would leave something out.
    """
    causal = causal_model(model)
    ours = causal.config._attn_implementation
    if not name and ours not in PACKING:
        yield
        return
    capped = getattr(causal.config.get_text_config(), "attn_logit_softcapping", None)
    causal.set_attn_implementation(name or ("sdpa" if causal._supports_sdpa and not capped else "eager"))
    try:
        yield
    finally:
        causal.set_attn_implementation(ours)


def model_inputs(causal: Any, batch: Batch) -> dict[str, Any]:
    """Arguments of the forward of transformers' model for a micro-batch.

    `use_cache=False` is required: with a cache, transformers would ignore the packed positions. Padded rows need no
    positions, which some models do not take: padding is on the right.
    """
    implementation = causal.config._attn_implementation
    inputs = {"input_ids": batch.ids, "use_cache": False} | attention_arguments(batch, implementation)
    if implementation in PACKING:
        inputs["position_ids"] = batch.positions
    return accepted(causal, inputs)


def accepted(causal: Any, inputs: dict[str, Any]) -> dict[str, Any]:
    """Those of `inputs` that the model's forward takes."""
    parameters = inspect.signature(type(causal).forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return {name: value for name, value in inputs.items() if takes_any or name in parameters}


def attention_arguments(batch: Batch, implementation: str) -> dict[str, Any]:
    """Arguments of the model's forward that carry the mask; computed once per micro-batch, used in every layer.

    Raises TrainingError for packed rows and an implementation that does not know segments.
    """
    from pacos.train.attention import segments, varlen

    positions, device = batch.ids.numel(), batch.ids.device
    if implementation == FLEX:
        return {"attention_mask": block_mask(batch)}
    # A four-dimensional mask keeps transformers from making its own, of width squared; ours ignore it.
    unused = {"attention_mask": batch.ids.new_empty(1, 1, 1, 1)}
    if implementation == VARLEN:
        return unused | {"sequences": varlen.varlen_sequences(batch.segments, positions, device)}
    if implementation == SEGMENTS:
        return unused | {"segments": segments.group_segments(batch.segments, positions, device)}
    if batch.is_packed:
        raise TrainingError(f"{implementation} attention cannot keep packed examples apart", where="train.attention")
    real = batch.segment_ids != PADDING
    # A row of padding alone attends itself: attention to nothing would give NaN.
    return {"attention_mask": (real | ~real.any(1, keepdim=True)).long()}


def may_attend(batch: Batch, row: Any, query: Any, key: Any) -> Any:
    """Whether position `query` of `row` attends `key`; the indices are tensors that broadcast.

    A position attends its own segment and its prefix, and nothing after itself. Padding attends padding: a query
    without any key would give NaN.
    """
    own = batch.segment_ids[row, query] == batch.segment_ids[row, key]
    prefix = batch.prefix_ids[row, query] == batch.segment_ids[row, key]
    return (key <= query) & (own | prefix)


def block_mask(batch: Batch) -> Any:
    """A BlockMask for all heads: blocks of 128 × 128 that are masked completely are not computed."""
    from torch.nn.attention.flex_attention import create_block_mask

    rows, width = batch.ids.shape
    return create_block_mask(
        lambda row, head, query, key: may_attend(batch, row, query, key),
        B=rows,
        H=None,
        Q_LEN=width,
        KV_LEN=width,
        device=batch.ids.device,
    )
