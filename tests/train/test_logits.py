"""Models that transform their logits after the head: training must compute the losses of what they serve."""

from typing import Any

import pytest
import torch

from pacos.config import LoraConfig
from pacos.errors import TrainingError
from pacos.train.attention import dispatch as attention
from pacos.train.data.examples import Example
from pacos.train.isolation import check_isolation
from pacos.train.model.lora import add_lora
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import collate

SIZES: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}


def capped(kind: str) -> Any:
    from transformers import Gemma2Config, Gemma2ForCausalLM, GraniteConfig, GraniteForCausalLM

    if kind == "gemma2":
        options: dict[str, Any] = {"final_logit_softcapping": 0.5, "attn_logit_softcapping": None, "head_dim": 16}
        return Gemma2ForCausalLM(Gemma2Config(**SIZES, **options))
    return GraniteForCausalLM(GraniteConfig(**SIZES, logits_scaling=0.1))


@pytest.mark.parametrize("kind", ["gemma2", "granite"])
def test_the_losses_are_those_of_capped_and_scaled_logits(kind: str) -> None:
    torch.manual_seed(0)
    attention.register_attention()
    base = capped(kind)
    base.set_attn_implementation(attention.SEGMENTS)
    model = add_lora(base, LoraConfig()).train()
    rows = [Example(f"rows:{n}", [1, *range(5, 8 + n), 2], 2) for n in range(4)]
    assert check_isolation(model, rows, 2) < 1e-3
    settings = model.config.to_dict()
    assert settings.get("final_logit_softcapping") == 0.5 or settings.get("logits_scaling") == 0.1, "put back"


def transforming(kind: str) -> Any:
    """Models whose forward goes on after the head, in ways that no setting switches off."""
    from transformers import CohereConfig, CohereForCausalLM, MiniCPM3Config, MiniCPM3ForCausalLM

    if kind == "cohere":
        return CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.5))
    heads: dict[str, Any] = {
        "q_lora_rank": 8,
        "kv_lora_rank": 8,
        "qk_nope_head_dim": 8,
        "qk_rope_head_dim": 8,
        "v_head_dim": 8,
    }
    return MiniCPM3ForCausalLM(MiniCPM3Config(**SIZES | {"num_key_value_heads": 2}, **heads, dim_model_base=8))


@pytest.mark.parametrize("kind", ["cohere", "minicpm3"])
def test_a_model_that_transforms_its_logits_in_its_own_way_gives_the_losses_of_its_own_logits(kind: str) -> None:
    torch.manual_seed(0)
    attention.register_attention()
    base = transforming(kind)
    base.set_attn_implementation(attention.SEGMENTS)
    model = add_lora(base, LoraConfig(r=4, alpha=8)).eval()
    rows = [Example(f"rows:{n}", [1, *range(5, 8 + n), 2], 2) for n in range(4)]
    assert check_isolation(model, rows, pad_id=0) < 1e-3
    with torch.no_grad():
        found = token_losses(model, collate([rows], 64, 0)).split([row.response_tokens for row in rows])
        for row, losses in zip(rows, found, strict=True):
            # transformers' own loss: the mean over the labels.
            ids = torch.tensor([row.ids])
            labels = torch.tensor([[-100] * row.prompt_length + row.ids[row.prompt_length :]])
            with attention.plain_attention(model):
                expected = model(input_ids=ids, labels=labels).loss
            torch.testing.assert_close(losses.mean(), expected, rtol=1e-5, atol=1e-5)


def test_losses_that_are_not_those_of_the_logits_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    attention.register_attention()
    base = transforming("cohere")
    base.set_attn_implementation(attention.SEGMENTS)
    model = add_lora(base, LoraConfig(r=4, alpha=8)).double()
    monkeypatch.setattr("pacos.train.optimization.cross_entropy.ends_in_head", lambda *_: True)
    rows = [Example(f"rows:{n}", [1, *range(5, 8 + n), 2], 2) for n in range(4)]
    with pytest.raises(TrainingError, match="not those of the model's logits"):
        check_isolation(model, rows, pad_id=0)
