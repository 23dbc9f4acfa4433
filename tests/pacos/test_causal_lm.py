"""Models with weights missing, left over, of other shapes or quantised are refused, from the headers and on load."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pacos.causal_lm import check_causal_lm, check_vocabulary, load_causal_lm
from pacos.config import ModelConfig
from pacos.errors import ModelError
from tests.support.small_architectures import build

Weights = dict[str, torch.Tensor]
DOWN = "model.layers.1.mlp.down_proj.weight"


def changed(base: Path, folder: Path, change: Callable[[Weights], Weights] | None = None, **config: Any) -> Path:
    """A copy of `base` with other weights or another configuration."""
    shutil.copytree(base, folder)
    if change:
        save_file(change(load_file(base / "model.safetensors")), folder / "model.safetensors", {"format": "pt"})
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(settings | config), encoding="utf-8")
    return folder


def refusals(folder: Path) -> list[str]:
    """What the check of the headers says, and what loading says."""
    config, said = ModelConfig(base=str(folder)), []
    for attempt in (check_causal_lm, lambda name, config: load_causal_lm(name, config, device="cpu")):
        with pytest.raises(ModelError) as refusal:
            attempt(str(folder), config)
        said.append(str(refusal.value))
    return said


def without_down(weights: Weights) -> Weights:
    return {name: weight for name, weight in weights.items() if name != DOWN}


def under_another_prefix(weights: Weights) -> Weights:
    return {f"language.{name}": weight for name, weight in weights.items()}


def of_another_shape(weights: Weights) -> Weights:
    return weights | {DOWN: torch.zeros(64, 100)}


def with_a_value_head(weights: Weights) -> Weights:
    return weights | {"v_head.weight": torch.zeros(1, 64)}


@pytest.mark.parametrize(
    ("change", "config", "said"),
    [
        (without_down, {}, rf"1 missing, and would be drawn at random \({DOWN}\)"),
        (under_another_prefix, {}, r"21 missing, .*20 left over, .*language\.model\.embed_tokens"),
        (of_another_shape, {}, rf"1 of another shape \({DOWN} is \[64, 100\] and should be \[64, 128\]\)"),
        (with_a_value_head, {}, r"1 left over, .*\(v_head\.weight\)(?s:.*)to drop a part on purpose"),
        (None, {"num_hidden_layers": 3}, r"9 missing, .*model\.layers\.2\."),
        (None, {"num_hidden_layers": 1}, r"9 left over, .*model\.layers\.1\."),
        (None, {"tie_word_embeddings": False}, r"1 missing, .*lm_head\.weight"),
        (None, {"attention_bias": True}, r"8 missing, .*k_proj\.bias"),
    ],
)
def test_weights_that_are_not_those_of_the_configuration_are_refused_and_named(
    tiny_base: Path, tmp_path: Path, change: Callable[[Weights], Weights] | None, config: dict[str, Any], said: str
) -> None:
    for refusal in refusals(changed(tiny_base, tmp_path / "base", change, **config)):
        assert re.search(said, refusal), refusal


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", "awq", "fp8", "compressed-tensors", "mxfp4"])
def test_quantised_models_are_refused_by_the_name_of_their_method(tiny_base: Path, tmp_path: Path, method: str) -> None:
    folder = changed(tiny_base, tmp_path / "base", quantization_config={"quant_method": method, "bits": 4})
    for refusal in refusals(folder):
        assert f"quantization_config: {method}" in refusal and "unquantised" in refusal


def test_a_folder_that_holds_an_adapter_too_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    folder = changed(tiny_base, tmp_path / "base")
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert all("holds a model and an adapter" in refusal for refusal in refusals(folder))


def test_a_cut_file_is_refused_before_it_is_loaded(tiny_base: Path, tmp_path: Path) -> None:
    path = changed(tiny_base, tmp_path / "base") / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-5000])
    assert all("copy it again" in refusal for refusal in refusals(path.parent))


def with_old_buffers(weights: Weights) -> Weights:
    return weights | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(16)}


def test_buffers_of_old_checkpoints_are_no_weights(tiny_base: Path, tmp_path: Path) -> None:
    folder = changed(tiny_base, tmp_path / "base", with_old_buffers)
    check_causal_lm(str(folder), ModelConfig(base=str(folder)))
    assert load_causal_lm(str(folder), ModelConfig(base=str(folder)), device="cpu").config.num_hidden_layers == 2


@pytest.mark.parametrize("kind", ["mixtral", "qwen2_moe", "gpt2", "gemma3_text", "deepseek_v3", "mamba"])
def test_whole_models_of_other_architectures_pass_from_the_headers_and_load(tmp_path: Path, kind: str) -> None:
    """Some merge a file's experts into one weight, some tie, some declare what may be absent."""
    build(kind, tmp_path)
    check_causal_lm(str(tmp_path), ModelConfig(base=str(tmp_path)))
    model = load_causal_lm(str(tmp_path), ModelConfig(base=str(tmp_path)), device="cpu")
    expected = {name: weight.shape for name, weight in type(model)(model.config).named_parameters()}
    assert {name: weight.shape for name, weight in model.named_parameters()} == expected


def test_a_tokenizer_with_an_id_beyond_the_embeddings_is_refused(tiny_base: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    rows = len(tokenizer)
    check_vocabulary(rows, tokenizer, "base")
    tokenizer.add_tokens(["<one more>"])
    with pytest.raises(
        ModelError, match=rf"base: the tokenizer has {rows + 1:,} ids and the model {rows:,} embeddings"
    ):
        check_vocabulary(rows, tokenizer, "base")
