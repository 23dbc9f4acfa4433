"""Checks that the tuned model stops: greedy answers to its own training prompts, and how many end in EOS.

A model that was never taught EOS reaches a good loss and then generates without end when served.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from pacos.config import Config
from pacos.results.training import StopProbe
from pacos.templates import template
from pacos.tokenization import encode_rows
from pacos.train.attention.dispatch import accepted, plain_attention
from pacos.train.data.chat_examples import first_turns
from pacos.train.data.sources import NamedRow
from pacos.train.interfaces import objective_of
from pacos.train.model.structure import causal_model

PROMPTS = 32
# Tokens of an answer: twice the longest of the rows' own, within these. A model that was tuned on them and says twice
# as much runs on.
LIMITS = range(32, 257)


class Asked(NamedTuple):
    """Token ids of prompts, and how many tokens an answer may have."""

    prompts: Sequence[Sequence[int]]
    limit: int


def probe_stops(model: Any, asked: Asked, eos: int) -> StopProbe:
    """Answer the prompts and count the answers that end. With a sharded base, every process calls it."""
    lengths = sorted(length for length in answer_lengths(model, asked.prompts, eos, asked.limit) if length)
    return StopProbe(len(asked.prompts), len(lengths), asked.limit, lengths[len(lengths) // 2] if lengths else 0)


def asked_of(rows: Sequence[NamedRow], tokenizer: Any, config: Config) -> Asked:
    """Prompts spread evenly over the rows, whose own responses take at most half of the greatest limit."""
    train, objective, longest = config.train, objective_of(config.train), LIMITS[-1] // 2
    form = template(train.template)
    rows = rows[:: max(1, len(rows) // (4 * PROMPTS))]
    if form.is_chat:
        turns = first_turns(rows, tokenizer)
        pairs = [(turn.prompt, turn.answer) for turn in turns if len(turn.prompt + turn.answer) <= train.max_length]
    else:
        texts = [objective.texts(row, form, f"{config.seed}:{name}") for name, row in rows]
        encoded = encode_rows(tokenizer, texts)
        pairs = [(row.prompt, row.response) for row in encoded if len(row.prompt + row.response) < train.max_length]
    short = [(prompt, len(answer)) for prompt, answer in pairs if len(answer) <= longest]
    chosen = short[:: max(1, len(short) // PROMPTS)][:PROMPTS]
    limit = 2 * max((length for _, length in chosen), default=0)
    return Asked([prompt for prompt, _ in chosen], min(max(limit, LIMITS[0]), LIMITS[-1]))


def answer_lengths(model: Any, prompts: Sequence[Sequence[int]], eos: int, limit: int) -> list[int]:
    """Tokens of each greedy answer, EOS included; 0 for one that did not end within `limit`.

    Not by `generate`, which would apply the model's generation config (penalties, sampling, other stops).
    """
    import torch

    was_training = model.training
    model.eval()
    try:
        with torch.no_grad(), plain_attention(model):
            return cached_lengths(model, prompts, eos, limit) if prompts else []
    except torch.OutOfMemoryError:
        raise
    except Exception:  # An architecture with a state of its own instead of a cache of keys and values.
        with torch.no_grad(), plain_attention(model):
            return uncached_lengths(model, prompts, eos, limit)
    finally:
        model.train(was_training)


def cached_lengths(model: Any, prompts: Sequence[Sequence[int]], eos: int, limit: int) -> list[int]:
    """`answer_lengths` of prompts padded on the left, with a cache of keys and values."""
    import torch

    width = max(map(len, prompts))
    device = model.device
    ids = torch.tensor([[eos] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    lengths, cache = torch.zeros(len(prompts), dtype=torch.long, device=device), None
    running = torch.arange(len(prompts), device=device)  # indices of the prompts still in the batch
    for count in range(1, limit + 1):
        answer = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        cache, ids = answer.past_key_values, answer.logits[:, -1].argmax(-1, keepdim=True)
        ended = ids[:, 0] == eos
        lengths[running[ended]] = count
        if ended.all():
            break
        mask, positions = torch.cat([mask, torch.ones_like(ids)], dim=1), positions[:, -1:] + 1
        if ended.any():
            kept = (~ended).nonzero().flatten()
            cache.batch_select_indices(kept)
            ids, mask, positions, running = ids[kept], mask[kept], positions[kept], running[kept]
    return [int(length) for length in lengths]


def uncached_lengths(model: Any, prompts: Sequence[Sequence[int]], eos: int, limit: int) -> list[int]:
    """`answer_lengths` of one prompt at a time, all of it computed again for each token."""
    import torch

    causal, lengths = causal_model(model), []
    for prompt in prompts:
        ids, length = list(prompt), 0
        for count in range(1, limit + 1):
            row = torch.tensor([ids], device=model.device)
            ids.append(int(model(**accepted(causal, {"input_ids": row, "use_cache": False})).logits[0, -1].argmax()))
            if ids[-1] == eos:
                length = count
                break
        lengths.append(length)
    return lengths
