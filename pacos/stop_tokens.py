"""The token ids at which a served model stops."""

from functools import lru_cache
from typing import Any


def stop_ids(tokenizer: Any) -> frozenset[int]:
    """The ids at which a server stops: the tokenizer's EOS, and those of the model's generation config beside it."""
    eos = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    return frozenset([*eos, *_configured_stops(getattr(tokenizer, "name_or_path", "") or "")])


@lru_cache(maxsize=16)
def _configured_stops(name: str) -> tuple[int, ...]:
    from transformers import GenerationConfig

    if not name:
        return ()
    try:
        found = GenerationConfig.from_pretrained(name, local_files_only=True).eos_token_id
    except (OSError, ValueError):  # no such file, which models need not have
        return ()
    return tuple(found) if isinstance(found, list) else () if found is None else (found,)
