"""The demonstration's base model before its training: its shape, and a start that can already copy.

Minutes on two cores are a few hundred optimizer steps, too few for a small transformer to find out by itself how to
copy a word from its context. So it is born with the circuit that larger models find ("A Mathematical Framework for
Transformer Circuits", Elhage et al. 2021; "In-context Learning and Induction Heads", Olsson et al. 2022):

- two heads of the first layer look at the token before, one at the token before that, and write down which it was;
- two heads of the second layer look for the place where the present token stood as the one before, a third for the
  place with the same token two before, and bring the token from there to the output: "river cloud … river" goes on
  with "cloud", whatever the words. The third tells apart the places behind a word that comes twice.

Untrained, it continues a repeated line of random tokens with 199 right of 200, and with 7 right of 10 where every
other token is one of three. Training leaves the circuit as it is, and learns
when to copy, and what else to do. Tokens that differ only in a leading space or a capital letter ("hat", " hat",
"Hat") begin close together.
"""

import math
from typing import Any

CONTEXT = 2_048
HIDDEN, HEADS, LAYERS = 320, 5, 3
HEAD_WIDTH = HIDDEN // HEADS
ROPE_THETA = 500_000.0

LOOKING_BACK = (1, 1, 2)  # by how many tokens each head of the circuit looks back
COPY_REACH = 200  # tokens over which a rotary pair must keep its phase to be used for matching
_EMBEDDING_SCALE, _NORM_SCALE = 0.5, 0.08  # of a tied head: their product sets how sure the first guesses are
_SHARED_PART = 0.15  # of an embedding's square length: the same in all tokens, for heads that look by place alone
_OWN_PART = 0.3  # what a spelling keeps of its own beside what it shares with its word's other spellings
_MATCH_SCALE, _COPY_SCALE = 2.0, 2.0
_MARK_SCALE = 0.5  # a mark is about twice as long as what it stands for
_OTHER_SCALE = 0.3  # of what the remaining heads and the MLPs add at the start


def new_model(tokenizer: Any) -> Any:
    """A Llama of 4.4 million parameters with a tied head."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=832,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            max_position_embeddings=2 * CONTEXT,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_THETA},
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )
    start_by_copying(model, _words_first_spelling(tokenizer))
    return model


def start_by_copying(model: Any, same_word: dict[int, int]) -> None:
    """Write the circuit into the weights; `same_word` maps a token to the first spelling of its word."""
    import torch

    turn = ROPE_THETA ** (-torch.arange(HEAD_WIDTH // 2) / (HEAD_WIDTH // 2))  # radians a token, of each rotary pair
    steady = (turn * COPY_REACH < 1).nonzero().flatten()
    matching = torch.cat([steady, steady + HEAD_WIDTH // 2])
    shares = [slice(head * len(matching), (head + 1) * len(matching)) for head in range(len(LOOKING_BACK))]
    marks = len(LOOKING_BACK) * len(matching)

    # An orthonormal basis of the residual stream, shared out: what all tokens have in common, marks of the
    # token before, and the tokens themselves.
    basis = torch.linalg.qr(torch.randn(HIDDEN, HIDDEN))[0]
    common, marked, own = basis[0], basis[1 : 1 + marks], basis[1 + marks :]
    read = own[:marks]

    _embed(model, own, common, same_word)
    model.model.norm.weight.data.fill_(_NORM_SCALE)
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.data.mul_(_OTHER_SCALE)
        layer.mlp.down_proj.weight.data.mul_(_OTHER_SCALE)
    first, second = (layer.self_attn for layer in model.model.layers[:2])
    _keep_out(torch.cat([common[None], marked, read]), first.o_proj.weight, model.model.layers[0].mlp.down_proj.weight)
    for head, back in enumerate(LOOKING_BACK):
        rows = slice(head * HEAD_WIDTH, (head + 1) * HEAD_WIDTH)
        # Turned back by so many places, the query meets the key of that token in phase.
        first.k_proj.weight.data[rows] = torch.cat([torch.ones_like(turn), torch.zeros_like(turn)])[:, None] * common
        angle = back * turn
        first.q_proj.weight.data[rows] = torch.cat([angle.cos(), -angle.sin()])[:, None] * common
        seen = read[shares[0 if back > 1 else head]]
        _set_rows(first.v_proj.weight.data[rows], torch.arange(len(matching)), seen)
        _set_rows(first.o_proj.weight.data.T[rows], torch.arange(len(matching)), marked[shares[head]])
        # The token before the present one is known by the mark that the first head left.
        asked = _MARK_SCALE * marked[shares[0]] if back > 1 else seen
        _set_rows(second.k_proj.weight.data[rows], matching, _MATCH_SCALE * marked[shares[head]])
        _set_rows(second.q_proj.weight.data[rows], matching, _MATCH_SCALE * asked)
        second.v_proj.weight.data[rows] = own[rows]
        second.o_proj.weight.data[:, rows] = _COPY_SCALE * own[rows].T
    circuit = slice(0, len(LOOKING_BACK) * HEAD_WIDTH)
    for weight in (first.q_proj, first.k_proj, first.v_proj, second.q_proj, second.k_proj):
        weight.weight.register_hook(lambda gradient: _cleared(gradient, circuit))
    first.o_proj.weight.register_hook(lambda gradient: _cleared(gradient.T, circuit).T)
    _only_within(own, model.model.embed_tokens.weight)


def _embed(model: Any, own: Any, common: Any, same_word: dict[int, int]) -> None:
    import torch

    embeddings = model.model.embed_tokens.weight.data
    directions = torch.randn(len(embeddings), len(own)) @ own
    for token, first in same_word.items():
        directions[token] = directions[first] + _OWN_PART * directions[token]
    directions /= directions.norm(dim=1, keepdim=True)
    length = _EMBEDDING_SCALE * math.sqrt(HIDDEN)
    embeddings.copy_(length * (math.sqrt(1 - _SHARED_PART) * directions + math.sqrt(_SHARED_PART) * common))


def _keep_out(channels: Any, *weights: Any) -> None:
    """These weights, [hidden, …], write nothing into the channels, now and in training."""
    for weight in weights:
        weight.data -= channels.T @ (channels @ weight.data)
        weight.register_hook(lambda gradient: gradient - channels.T @ (channels @ gradient))


def _only_within(channels: Any, weight: Any) -> None:
    """Training changes the rows of this weight within the channels only."""
    weight.register_hook(lambda gradient: gradient @ channels.T @ channels)


def _cleared(gradient: Any, rows: slice) -> Any:
    kept = gradient.clone()
    kept[rows] = 0
    return kept


def _set_rows(weight: Any, rows: Any, values: Any) -> None:
    """`values` in the given rows, nothing in the others."""
    weight.zero_()
    weight[rows] = values


def _words_first_spelling(tokenizer: Any) -> dict[int, int]:
    first_of: dict[str, int] = {}
    same: dict[int, int] = {}
    for token, id in sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1]):
        first = first_of.setdefault(token.lstrip("Ġ").lower(), id)
        if first != id:
            same[id] = first
    return same
