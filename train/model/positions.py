"""Checks that a model has positions for the longest example."""

from typing import Any

from pacos.errors import ModelError
from pacos.train.model.structure import causal_model

# What architectures call their tables of positions, learned or computed to a fixed length.
TABLES = ("wpe", "embed_positions", "position_embedding", "position_embeddings", "pos_embedding")


def check_positions(model: Any, longest: int) -> None:
    """Raises ModelError where `longest` tokens are more than the model's positions.

    A table of positions ends there; rotary embeddings compute on, at angles that the model has never seen. Rotary
    embeddings that are scaled are made for more, and models without positions (ALiBi, state spaces) have no limit.
    """
    causal = causal_model(model)
    settings = causal.config.get_text_config()
    limit = getattr(settings, "max_position_embeddings", None)
    if not isinstance(limit, int) or limit < 1 or longest <= limit or _is_unlimited(settings):
        return
    has_table = any(name.rpartition(".")[2] in TABLES for name, _ in causal.named_modules())
    if has_table or hasattr(settings, "rotary_dim") or is_plainly_rotary(settings):
        raise ModelError(
            f"the longest example has {longest:,} tokens, and the model has {limit:,} positions",
            where=model.name_or_path,
            todo=f"set train.max_length to {limit} or less, or use a model for longer texts",
        )


def _is_unlimited(settings: Any) -> bool:
    if getattr(settings, "alibi", False) or getattr(settings, "position_embedding_type", "") in ("alibi", "nope"):
        return True
    attention = getattr(settings, "attn_config", None)
    return bool(getattr(attention, "alibi", False))


def is_plainly_rotary(settings: Any) -> bool:
    """Whether positions are rotary embeddings without scaling, in every kind of layer."""
    given = getattr(settings, "rope_parameters", None) or {}
    if not isinstance(given, dict) or not given:
        return False
    kinds = [part for part in given.values() if isinstance(part, dict)] or [given]
    return all(kind.get("rope_type", "default") == "default" for kind in kinds)
