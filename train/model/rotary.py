"""Rotary embeddings whose frequencies depend on the longest row of a micro-batch: dynamic ones, and longrope."""

from typing import Any


def alone_in_micro_batch(causal: Any, longest: int) -> str:
    """Why an example of `longest` tokens must have a micro-batch of its own; "" where it need not.

    transformers' dynamic embeddings also remember the longest row before: from here on, each forward begins anew, so
    that an example is computed as if it were alone, whatever came before.
    """
    for module in causal.modules():
        kinds = getattr(module, "rope_type", None)
        names = [name for name in (kinds.values() if isinstance(kinds, dict) else [kinds]) if isinstance(name, str)]
        known = min(trained_lengths(causal.config.get_text_config()), default=0)
        if longest > known and any("dynamic" in name or name == "longrope" for name in names):
            module.register_forward_pre_hook(begin_anew)
            return f"its rotary embedding depends on a micro-batch's longest row beyond {known} tokens"
    return ""


def trained_lengths(config: Any) -> list[int]:
    """Lengths up to which a rotary embedding is what it was trained with."""
    rope = getattr(config, "rope_parameters", None) or {}
    settings = [rope, *(value for value in rope.values() if isinstance(value, dict))]
    found = [one.get("original_max_position_embeddings") for one in settings]
    found += [getattr(config, name, None) for name in ("original_max_position_embeddings", "max_position_embeddings")]
    return [length for length in found if isinstance(length, int)]


def begin_anew(module: Any, *given: Any) -> None:
    """Forget the longest row so far, and the frequencies that it gave (`dynamic_frequency_update` of transformers)."""
    for name in [name for name in vars(module) if name.endswith("max_seq_len_cached")]:
        setattr(module, name, module.original_max_seq_len)
    originals = [name for name in (*vars(module), *module._buffers) if name.endswith("original_inv_freq")]
    for name in originals:
        current = name.replace("original_", "")
        setattr(module, current, getattr(module, name).to(getattr(module, current).device))
