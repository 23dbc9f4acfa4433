"""Models that transform their logits after the head: training must compute the losses of what they serve."""

from pathlib import Path
from typing import Any

import pytest
import torch

from pacos.config import LoraConfig
from pacos.errors import ModelError, TrainingError
from pacos.train.attention import dispatch as attention
from pacos.train.data.examples import Example
from pacos.train.isolation import check_isolation
from pacos.train.model.load import meta_model
from pacos.train.model.lora import add_lora
from tests.support.small_training import training_config

SIZES = {
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
        options = {"final_logit_softcapping": 0.5, "attn_logit_softcapping": None, "head_dim": 16}
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


def test_a_model_that_transforms_its_logits_in_another_way_is_refused() -> None:
    from transformers import CohereConfig, CohereForCausalLM

    attention.register_attention()
    base = CohereForCausalLM(CohereConfig(**SIZES, logit_scale=0.5))
    base.set_attn_implementation(attention.SEGMENTS)
    model = add_lora(base, LoraConfig(r=4, alpha=8)).double()
    rows = [Example(f"rows:{n}", [1, *range(5, 8 + n), 2], 2) for n in range(4)]
    with pytest.raises(TrainingError, match="not those of the model's logits"):
        check_isolation(model, rows, pad_id=0)


def test_attention_that_sdpa_would_change_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    from transformers import Gemma2Config

    Gemma2Config(**SIZES, head_dim=16).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="caps its attention logits"):
        meta_model(training_config(tmp_path, tmp_path, tmp_path))
