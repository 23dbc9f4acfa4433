"""Does the tuned model stop? Greedy answers to prompts of its own training data, and how many end in EOS.

A model that was never taught EOS trains to a fine loss and runs on for ever when served; here it shows at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.config import Config
from pacos.templates import encode_prompts, encode_responses, template
from pacos.train.attention.dispatch import plain_attention
from pacos.train.data.pairs import Pair
from pacos.train.data.tokenized import load_rows

PROMPTS = 32
LIMIT = 256


@dataclass(frozen=True, slots=True)
class StopProbe:
    """`stopped` of `prompts` answers ended within `limit` tokens; `median_tokens` counts those, EOS included."""

    prompts: int
    stopped: int
    limit: int
    median_tokens: int

    def __str__(self) -> str:
        return f"{self.stopped} of {self.prompts} greedy answers ended by themselves within {self.limit} tokens"


def probe_stops(model: Any, tokenizer: Any, config: Config) -> StopProbe:
    """Answer prompts drawn evenly from the data, whose own responses take at most half of `LIMIT`.

    Where the base is shared out, every process calls this and computes the same.
    """
    prompts = probe_prompts(tokenizer, config)
    lengths = sorted(length for length in answer_lengths(model, prompts, tokenizer.eos_token_id, LIMIT) if length)
    return StopProbe(len(prompts), len(lengths), LIMIT, lengths[len(lengths) // 2] if lengths else 0)


def probe_prompts(tokenizer: Any, config: Config) -> list[list[int]]:
    train, rows = config.train, load_rows(config)
    texts: list[tuple[str, str]] = []
    for name, row in rows[:: max(1, len(rows) // (4 * PROMPTS))]:
        draw = f"{config.seed}:{name}"
        if isinstance(row, Pair):
            texts.append(row.texts(template(train.template), draw)[:2])
        else:
            texts.append(template(train.template).render(row, draw))
    prompts = encode_prompts(tokenizer, [prompt for prompt, _ in texts])
    responses = encode_responses(tokenizer, [response for _, response in texts])
    short = [
        prompt
        for prompt, response in zip(prompts, responses, strict=True)
        if len(response) <= LIMIT // 2 and len(prompt) + len(response) < train.max_length
    ]
    return short[:: max(1, len(short) // PROMPTS)][:PROMPTS]


def answer_lengths(model: Any, prompts: Sequence[Sequence[int]], eos: int, limit: int) -> list[int]:
    """Tokens of each greedy answer up to and with EOS; 0 for one that did not end within `limit`.

    Its own loop: `generate` would add what the model's generation config says (penalties, sampling, other stops).
    """
    import torch

    if not prompts:
        return []
    width = max(map(len, prompts))
    device = model.device
    ids = torch.tensor([[eos] * (width - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    seen = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    positions = (seen.cumsum(1) - 1).clamp(min=0)
    lengths, cache = torch.zeros(len(prompts), dtype=torch.long, device=device), None
    running = torch.arange(len(prompts), device=device)  # the prompts that the rows of the batch belong to
    was_training = model.training
    model.eval()
    with torch.no_grad(), plain_attention(model):
        for count in range(1, limit + 1):
            answer = model(
                input_ids=ids,
                attention_mask=seen,
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
            seen, positions = torch.cat([seen, torch.ones_like(ids)], dim=1), positions[:, -1:] + 1
            if ended.any():
                kept = (~ended).nonzero().flatten()
                cache.batch_select_indices(kept)
                ids, seen, positions, running = ids[kept], seen[kept], positions[kept], running[kept]
    model.train(was_training)
    return [int(length) for length in lengths]
