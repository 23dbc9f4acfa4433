"""Options of PEFT that would do nothing, names that match nothing, and what all-linear leaves untouched."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pacos.config import LoraConfig
from pacos.errors import ConfigError, ModelError
from pacos.train import launch
from pacos.train.model.lora import add_lora, peft_settings
from pacos.train.model.untouched import untouched_warning, untouched_weights
from tests.support.small_architectures import small_config
from tests.support.small_training import train_here, training_config


def small_llama() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_config(small_config("llama", 64, {}))


@pytest.mark.parametrize(
    ("lora", "said"),
    [
        ({"targets": ["q_proj", "v_prj"]}, r"targets: .*no module named v_prj(?s:.*)v_proj"),
        ({"extra": {"exclude_modules": ["v_prj"]}}, "exclude_modules: .*no module named v_prj"),
        ({"extra": {"exclude_modules": r".*\.v_prj"}}, r"exclude_modules: \.\*\\\.v_prj matches no module"),
        ({"extra": {"exclude_modules": "(v_proj"}}, "no regular expression"),
        ({"extra": {"modules_to_save": ["lm_hed"]}}, "modules_to_save: .*no module named lm_hed(?s:.*)lm_head"),
        ({"extra": {"target_parameters": ["experts.gate"]}}, r"no parameter named experts\.gate"),
        ({"extra": {"rank_pattern": {"q_prj": 4}}}, "rank_pattern: q_prj matches no adapted module"),
        (
            {"targets": ["q_proj"], "extra": {"alpha_pattern": {"v_proj": 4}}},
            "alpha_pattern: v_proj matches no adapted",
        ),
        ({"targets": ["q_proj"], "extra": {"layers_to_transform": [0, 7]}}, "no adapted module lies in layer 7"),
    ],
)
def test_names_and_patterns_that_match_nothing_are_named(lora: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        add_lora(small_llama(), LoraConfig(r=4, **lora))


def test_names_and_patterns_that_match_are_taken() -> None:
    extra = {"rank_pattern": {r"layers\.0\..*v_proj": 2}, "layers_to_transform": [0, 1], "exclude_modules": ["o_proj"]}
    model = add_lora(small_llama(), LoraConfig(r=4, targets=["q_proj", "self_attn.v_proj", "o_proj"], extra=extra))
    ranks = {name: len(weight) for name, weight in model.named_parameters() if "lora_A" in name}
    found = {(name.split(".")[4], name.split(".")[6]): rank for name, rank in ranks.items()}
    assert found == {("0", "q_proj"): 4, ("1", "q_proj"): 4, ("0", "v_proj"): 2, ("1", "v_proj"): 4}


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"peft_type": "ADALORA"}, "peft_type would not do what it says: pacos trains LoRA"),
        ({"task_type": "SEQ_CLS"}, "task_type would not"),
        ({"inference_mode": True}, "inference_mode would not"),
        ({"base_model_name_or_path": "other"}, r"set train\.model"),
        ({"megatron_config": {"a": 1}}, "megatron_config would not"),
        ({"ensure_weight_tying": True}, "ensure_weight_tying would not"),
        ({"loftq_config": {"loftq_bits": 4}}, "will be ignored"),
        ({"init_lora_weights": "loftq"}, "`loftq_config` must be specified"),
        ({"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}}, "a base of its own in 4 bits"),
        ({"init_lora_weights": "pissa_niter_4"}, "its SVD draws at random"),
        ({"init_lora_weights": "eva"}, "computes it from data"),
        ({"bias": "some"}, "must be one of none, all, lora_only"),
        ({"rank_pattern": "q_proj"}, "must be of type dict"),
    ],
)
def test_options_without_effect_or_of_a_wrong_kind_are_refused_with_the_reason(
    extra: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        peft_settings(LoraConfig(extra=extra))


def test_options_that_say_what_is_so_anyhow_are_taken() -> None:
    extra = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "inference_mode": False}
    assert peft_settings(LoraConfig(extra=extra))["task_type"] == "CAUSAL_LM"


@pytest.mark.parametrize("extra", [{"init_lora_weights": "pissa"}, {"init_lora_weights": "olora"}, {"lora_bias": True}])
def test_what_is_exported_is_in_plain_peft_the_model_that_was_trained(
    tmp_path: Path, tiny_base: Path, tasks: Path, extra: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PEFT, on the original base, is the oracle."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from pacos.train import pipeline

    ids, trained = torch.arange(5, 25)[None], list[torch.Tensor]()
    finish = pipeline.finish

    def note_logits(model: Any, *rest: Any) -> None:
        with torch.no_grad():
            trained.append(model.eval()(input_ids=ids).logits)
        finish(model, *rest)

    monkeypatch.setattr(pipeline, "finish", note_logits)
    config = training_config(tmp_path, tiny_base, tasks, max_steps=2, lora={"r": 4, "alpha": 8, "extra": extra})
    train_here(config)
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    with torch.no_grad():
        untrained = base(input_ids=ids).logits
        loaded = PeftModel.from_pretrained(base, str(config.run_dir / "train" / "adapter")).eval()(input_ids=ids).logits
    torch.testing.assert_close(loaded, trained[0], rtol=1e-4, atol=1e-4)
    assert (loaded - untrained).abs().max() > 0.01
    if "lora_bias" in extra:
        weights = load_file(config.run_dir / "train" / "adapter" / "adapter_model.safetensors")
        assert sum(name.endswith("lora_B.bias") for name in weights) == 2 * 7


def test_experts_that_all_linear_leaves_frozen_are_said_with_their_share() -> None:
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_config(small_config("gpt_oss", 64, {}))
    ends = {"model.embed_tokens.weight", "lm_head.weight"}
    matrices = {name: weight for name, weight in base.named_parameters() if weight.dim() > 1 and name not in ends}
    mlps = sum(weight.numel() for name, weight in matrices.items() if ".mlp." in name)
    every = sum(weight.numel() for weight in matrices.values())
    share, largest = untouched_weights(model := add_lora(base, LoraConfig(r=2)))
    # Of its layers, PEFT adapts the attention alone.
    assert share == mlps / every and largest == "model.layers.0.mlp.experts.gate_up_proj"
    assert f"LoRA leaves {share:.0%} of the layers' weights as they are" in untouched_warning(model)


def test_a_model_of_linear_layers_has_nothing_untouched() -> None:
    model = add_lora(small_llama(), LoraConfig(r=2))
    assert untouched_weights(model)[0] == 0 and untouched_warning(model) == ""


def test_positions_that_do_not_reach_are_refused_before_training(
    tmp_path: Path, tiny_base: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    short = tmp_path / "short"
    shutil.copytree(tiny_base, short)
    settings = json.loads((short / "config.json").read_text(encoding="utf-8")) | {"max_position_embeddings": 64}
    (short / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    config = training_config(tmp_path, short, tasks)
    for start in (launch.plan, train_here):
        with pytest.raises(ModelError, match=r"has 1\d\d tokens, and the model has 64 positions"):
            start(config)
