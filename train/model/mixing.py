"""Finds how the tokens of a model depend on one another, and from that how its examples are put into rows.

Packed rows are exact where tokens meet only in attention by transformers' interface, where that attention is causal and
complete, and where positions are those given. Names of architectures do not tell, nor do small differences of logits.
So the model is run with an attention in which every token sees itself alone, and with one token's embedding NaN: if
any other token becomes NaN, something else links them (a convolution, a recurrent state, an attention of its own).
What the interface was asked for (masks, options) shows the rest.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pacos.train.attention.dispatch import FLEX, SEGMENTS, VARLEN, accepted, register_attention
from pacos.train.model.rotary import alone_in_micro_batch
from pacos.train.model.structure import causal_model
from pacos.train.optimization.cross_entropy import replaced_head
from pacos.train.packing.rules import RowRules

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")

SEVERED = "pacos_severed"
# Options of the interface that all our implementations honour or that mean nothing without a cache.
KNOWN_OPTIONS = {
    "segments", "sequences", "dropout", "scaling", "is_causal", "sliding_window", "position_ids", "position_embeddings",
    "use_cache", "cache_position", "cache_params", "past_key_values", "layer_idx", "logits_to_keep", "return_dict",
    "output_attentions", "output_hidden_states", "output_router_logits", "num_items_in_batch",
}  # fmt: skip
FLEX_OPTIONS = {"softcap", "s_aux"}
# Largest head that FlashAttention's kernel takes.
KERNEL_HEAD = 256
# Rounding of equal rows of a matrix product; a position that is not the given one moves keys by their own size.
EQUAL = 1e-2
UNIFORM_WIDTH = 16


@dataclass
class AttentionCalls:
    """What the layers asked of the interface; `uniform` while all tokens and positions are equal.

    `unequal`: keys or queries differed then. `deaf`: an argument of the model's forward did not arrive.
    """

    length: int
    uniform: bool = False
    options: set[str] = field(default_factory=set)
    heads: set[tuple[int, int]] = field(default_factory=set)
    unequal: bool = False
    deaf: bool = False
    windows: list[str] = field(default_factory=list)


def choose_rows(model: Any, ids: Sequence[int], attention: str) -> RowRules:
    """How the examples of `model` are put into rows, where `ids` is the longest of them; sets the model's attention.

    Packed rows get the implementation `attention`. A model that cannot be packed keeps transformers' choice, or eager
    attention where sdpa would leave out an option. Every process calls it.
    """
    causal, calls = causal_model(model), AttentionCalls(len(ids))
    obstacle = find_obstacle(model, list(ids), calls, attention)
    single = alone_in_micro_batch(causal, len(ids))
    unpacked = obstacle or single
    if not unpacked:
        unfit = attention == VARLEN and any(q != v or q > KERNEL_HEAD for q, v in calls.heads)
        causal.set_attn_implementation(SEGMENTS if unfit else attention)
    elif calls.options or getattr(causal.config.get_text_config(), "attn_logit_softcapping", None):
        causal.set_attn_implementation("eager")
    return RowRules(
        unpacked=unpacked,
        single=bool(single),
        unshared=randomness(model, list(ids)),
        static=not unpacked and attention == FLEX,
    )


def find_obstacle(model: Any, ids: list[int], calls: AttentionCalls, attention: str) -> str:
    """Why rows cannot be packed; "" where they can."""
    import torch

    if len(ids) < 3:
        ids, calls.length = (ids * 3)[:3], 3
    was_training = model.training
    model.eval()
    try:
        with severed_attention(model, calls), torch.no_grad():
            mixer = first_mixer(model, ids)
            if mixer:
                return f"{mixer} links tokens by other means than transformers' attention interface"
            if causal_model(model).config._attn_implementation != SEVERED:
                return "its attention cannot be replaced as a whole"
            own, given = (run(model, ids, places) for places in (None, list(range(len(ids)))))
            if not nearly_equal(own, given):
                return "it counts the positions of tokens in its own way"
            calls.uniform = True
            moved = run(model, [ids[-1]] * UNIFORM_WIDTH, [1] * UNIFORM_WIDTH, packed=True)
            if not calls.heads:
                return "it does not use transformers' attention interface"
            if calls.unequal or not rows_equal(moved):
                return "it does not take the positions of tokens that it is given"
            if calls.deaf and attention != FLEX:
                return "its layers do not hand on to attention where segments begin and end"
    except torch.OutOfMemoryError:
        raise
    except Exception as failure:  # The code of an architecture that takes no other attention can raise anything.
        return f"it runs with no attention but its own ({type(failure).__name__}: {str(failure).splitlines()[0][:120]})"
    finally:
        model.train(was_training)
    if calls.windows:
        return calls.windows[0]
    if unknown := sorted(calls.options - (FLEX_OPTIONS if attention == FLEX else set())):
        return f"its attention has {' and '.join(unknown)}, which {attention} does not compute"
    return ""


def first_mixer(model: Any, ids: list[int]) -> str:
    """The class of the innermost module whose output at one token depends on another's embedding; "" for none."""
    import torch

    causal, middle = causal_model(model), len(ids) // 2
    others = [index for index in range(len(ids)) if index != middle]
    leaks: list[str] = []

    def poison(module: Any, given: Any, output: "torch.Tensor") -> "torch.Tensor":
        poisoned = output.clone()
        poisoned[:, middle] = float("nan")
        return poisoned

    def leaked(tensor: Any) -> bool:
        tensor = tensor[0] if isinstance(tensor, tuple) and tensor else tensor
        by_token = isinstance(tensor, torch.Tensor) and tensor.dim() == 3 and tensor.shape[1] == len(ids)
        return by_token and bool(tensor[:, others].isnan().any())

    def look(module: Any, given: Any, options: Any, output: Any) -> None:
        if not leaks and leaked(output) and not any(map(leaked, (*given, *options.values()))):
            leaks.append(type(module).__name__)

    # From the inside out: the innermost module that leaks is called back first.
    hooks = [causal.get_input_embeddings().register_forward_hook(poison)]
    hooks += [module.register_forward_hook(look, with_kwargs=True) for module in causal.modules()]
    try:
        hidden = run(model, ids, list(range(len(ids))))
    finally:
        for hook in hooks:
            hook.remove()
    if not hidden[:, middle].isnan().any():
        return "something after the embeddings"
    return (leaks or [type(causal).__name__])[0] if leaks or hidden[:, others].isnan().any() else ""


def run(model: Any, ids: list[int], positions: list[int] | None, *, packed: bool = False) -> "torch.Tensor":
    """[1, tokens, size] what the head is given, or the logits of a model without a head.

    Without `positions` the model makes its own. `packed` passes the arguments of packed rows.
    """
    import torch

    causal, device = causal_model(model), model.device
    found: list[torch.Tensor] = []

    def head_input(hidden: "torch.Tensor") -> "torch.Tensor":
        found.append(hidden)
        return hidden.new_zeros(*hidden.shape[:-1], 8)

    given = {"input_ids": ids} | ({} if positions is None else {"position_ids": positions})
    inputs: dict[str, Any] = {name: torch.tensor([values], device=device) for name, values in given.items()}
    if packed:
        inputs |= {"attention_mask": inputs["input_ids"].new_empty(1, 1, 1, 1), "segments": "passed on"}
    head = causal.get_output_embeddings()
    with replaced_head(head, head_input) if head is not None else contextlib.nullcontext():
        output = model(**accepted(causal, inputs | {"use_cache": False}))
    return found[0] if found else output.logits


@contextlib.contextmanager
def severed_attention(model: Any, calls: AttentionCalls) -> Iterator[None]:
    """Replace the model's attention by one in which every token has its own value, and note what is asked of it."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    def attend(
        module: Any, query: "torch.Tensor", key: "torch.Tensor", value: "torch.Tensor", mask: Any = None, **options: Any
    ) -> tuple["torch.Tensor", None]:
        note_call(calls, (query, key, value), mask, options)
        own = value.repeat_interleave(query.shape[1] // value.shape[1], dim=1)
        return own.transpose(1, 2).contiguous(), None

    def whole_mask(*given: Any, **options: Any) -> Any:
        return sdpa_mask(*given, **options | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})

    register_attention()
    AttentionInterface.register(SEVERED, attend)
    AttentionMaskInterface.register(SEVERED, whole_mask)
    causal = causal_model(model)
    before = causal.config._attn_implementation
    causal.set_attn_implementation(SEVERED)
    try:
        yield
    finally:
        causal.set_attn_implementation(before)


def note_call(calls: AttentionCalls, tensors: "tuple[torch.Tensor, ...]", mask: Any, options: dict[str, Any]) -> None:
    """Note what is unlike complete causal attention of the tokens among themselves."""
    import torch

    query, key, value = tensors
    calls.heads.add((query.shape[-1], value.shape[-1]))
    asked = {name for name, value in options.items() if value is not None and value is not False}
    calls.options |= asked - KNOWN_OPTIONS
    if calls.uniform:
        calls.unequal |= not all(rows_equal(tensor.transpose(1, 2).flatten(2)) for tensor in (query, key))
        calls.deaf |= "segments" not in options
        return
    if key.shape[2] != calls.length or query.shape[2] != calls.length:
        calls.windows.append("its attention attends something else than the tokens")
        return
    window = options.get("sliding_window")
    causal = torch.ones(calls.length, calls.length, dtype=torch.bool, device=query.device).tril()
    whole = mask is None or (
        mask.dtype == torch.bool and mask.shape[-2:] == causal.shape and bool((mask == causal).all())
    )
    if options.get("is_causal") is False and mask is None:
        calls.windows.append("its attention is not causal")
    elif window and window < calls.length:
        calls.windows.append(f"its attention window of {window} is shorter than the longest example, {calls.length}")
    elif not whole:
        calls.windows.append(f"its attention is not complete over the longest example, {calls.length} tokens")


def rows_equal(rows: "torch.Tensor") -> bool:
    """Whether [1, tokens, size] is the same at all tokens, to rounding."""
    return nearly_equal(rows[:, :1], rows)


def nearly_equal(found: "torch.Tensor", expected: "torch.Tensor") -> bool:
    """Whether two tensors are equal to rounding."""
    return bool((found - expected).abs().max() <= EQUAL * expected.abs().max())


def randomness(model: Any, ids: list[int]) -> str:
    """Why the base computes differently each time while training; "" where it does not.

    It does where a forward in training mode moves torch's random generator, or a part says so (`random_parts`).
    """
    import torch

    causal, device = causal_model(model), model.device
    if stated := random_parts(causal):
        return stated
    state = torch.cuda.get_rng_state if device.type == "cuda" else torch.get_rng_state
    was_training = model.training
    model.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            before = state()
            row = torch.tensor([ids[:UNIFORM_WIDTH]], device=device)
            model(**accepted(causal, {"input_ids": row, "use_cache": False}))
            return "" if torch.equal(before, state()) else "the base draws random numbers while training"
    except torch.OutOfMemoryError:
        raise
    except Exception:  # What cannot run is refused by check_isolation, with its error.
        return ""
    finally:
        model.train(was_training)


def random_parts(causal: Any) -> str:
    """Which part of the base has dropout or noise of its own; "" for none.

    Dropout is a module or a number that its owner passes on, and mixtures of experts may have noise ("jitter").
    """
    import torch

    for name, module in causal.named_modules():
        numbers = {key: value for key, value in vars(module).items() if type(value) in (int, float) and value > 0}
        is_dropout = isinstance(module, torch.nn.modules.dropout._DropoutNd)
        if is_dropout and "p" in numbers and "lora_" not in name:
            return f"the base has dropout of its own ({name or 'model'} {numbers['p']:g})"
        for key, value in numbers.items():
            if "drop" in key or "jitter" in key or "noise" in key:
                return f"the base has {key} {value:g} of its own"
    return ""
