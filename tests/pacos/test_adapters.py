"""Adapters on disk: what tells one from another, and whether one fits its base, by headers and by its weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pacos.adapter_fit import check_adapter_fits, load_adapter
from pacos.adapters import adapter_sha256, read_adapter_config
from pacos.config import ModelConfig
from pacos.errors import ModelError
from pacos.models import resolve_model
from tests.support.tiny_llama import write_adapter

WEIGHTS = "adapter_model.safetensors"
HEAD = "base_model.model.model.layers."


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tiny_base, tmp_path_factory.mktemp("adapters") / "adapter", scale=0.3, seed=5)


def edited(
    adapter: Path,
    folder: Path,
    weights: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]] | None = None,
    **config: Any,
) -> Path:
    shutil.copytree(adapter, folder)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    if weights:
        save_file(weights(load_file(folder / WEIGHTS)), folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("config", [{"lora_alpha": 32}, {"use_rslora": True}, {"alpha_pattern": {"q_proj": 3}}])
def test_another_configuration_is_another_adapter(adapter: Path, tmp_path: Path, config: dict[str, Any]) -> None:
    assert adapter_sha256(edited(adapter, tmp_path / "other", **config)) != adapter_sha256(adapter)


def test_other_weights_are_another_adapter(adapter: Path, tmp_path: Path) -> None:
    other = edited(adapter, tmp_path / "other", lambda weights: {name: 2 * weight for name, weight in weights.items()})
    assert adapter_sha256(other) != adapter_sha256(adapter)


def test_a_moved_base_and_the_order_of_modules_make_no_other_adapter(adapter: Path, tmp_path: Path) -> None:
    targets = json.loads((adapter / "adapter_config.json").read_text())["target_modules"]
    same = edited(
        adapter,
        tmp_path / "same",
        base_model_name_or_path="/elsewhere",
        peft_version="0.1",
        inference_mode=False,
        target_modules=targets[::-1],
        an_option_of_a_later_version=None,
    )
    assert len(targets) > 1 and adapter_sha256(same) == adapter_sha256(adapter)


def test_the_identity_of_an_adapter_is_in_its_reference(adapter: Path, tiny_base: Path) -> None:
    found = resolve_model(str(tiny_base), ModelConfig(base=str(tiny_base)), adapter)
    assert (found.adapter_sha256, found.rank) == (adapter_sha256(adapter), 8)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"peft_type": "LOHA"}, "peft_type is 'LOHA'"),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
        ({"r": "8"}, "r must be a whole number from 1 on, and is '8'"),
        ({"r": 0}, "r must be a whole number"),
        ({"r": True}, "r must be a whole number"),
        ({"lora_alpha": "16"}, "lora_alpha must be of type int or float"),
        ({"target_modules": 5}, "target_modules must be of type str or list"),
        ({"rank_pattern": {"q_proj": "8"}}, "rank_pattern must give numbers"),
        ({"rank_pattern": ["q_proj"]}, "rank_pattern must be of type dict"),
        ({"base_model_name_or_path": ["x"]}, "base_model_name_or_path must be of type str"),
    ],
)
def test_a_configuration_that_is_no_lora_adapters_is_refused(
    adapter: Path, tmp_path: Path, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        read_adapter_config(edited(adapter, tmp_path / "odd", **config))


@pytest.mark.parametrize("text", ["[1]", "{", '{"r": 8, "r": 16}', "\ud800"])
def test_a_configuration_that_is_no_object_is_refused(adapter: Path, tmp_path: Path, text: str) -> None:
    folder = edited(adapter, tmp_path / "odd")
    (folder / "adapter_config.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        read_adapter_config(folder)


def test_pickled_weights_are_refused_by_name(adapter: Path, tmp_path: Path) -> None:
    folder = edited(adapter, tmp_path / "pickled")
    (folder / WEIGHTS).rename(folder / "adapter_model.bin")
    with pytest.raises(ModelError, match=r"pickled \(adapter_model\.bin\), and a pickle can run code"):
        read_adapter_config(folder)


def small_model(kind: str, **options: Any) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = AutoConfig.for_model(kind, vocab_size=100, num_key_value_heads=1, **sizes, **options)
    return AutoModelForCausalLM.from_config(config).eval()


OPTIONS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"use_dora": True}),
    ("llama", {"target_modules": ["q_proj", "embed_tokens", "lm_head"]}),
    ("llama", {"modules_to_save": ["embed_tokens", "lm_head"]}),
    ("llama", {"trainable_token_indices": [1, 2]}),
    ("llama", {"layers_to_transform": [1], "rank_pattern": {"v_proj": 2}}),
    ("llama", {"layer_replication": [[0, 2], [0, 2]]}),
    ("qwen2", {"bias": "all"}),
    ("qwen2", {"bias": "lora_only", "lora_bias": True}),
    ("mixtral", {"target_modules": "all-linear"}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_what_peft_saves_fits_and_loads_as_peft_loads_it(kind: str, options: dict[str, Any], tmp_path: Path) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    settings: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"} | options
    tuned = get_peft_model(small_model(kind), LoraConfig(**settings))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    tuned.save_pretrained(str(tmp_path))
    check_adapter_fits(tmp_path, "the base", small_model(kind).config)
    ids = torch.arange(3, 20)[None]
    expected = PeftModel.from_pretrained(small_model(kind), str(tmp_path)).eval()(input_ids=ids).logits
    assert torch.equal(load_adapter(small_model(kind), tmp_path)(input_ids=ids).logits, expected)


def renamed(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name.replace("model.model.", "model.model.language_model."): weight for name, weight in weights.items()}


def half(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in weights.items() if not name.startswith(f"{HEAD}1.")}


def without_a(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in weights.items() if not name.endswith("q_proj.lora_A.weight")}


def wider(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {f"{HEAD}0.self_attn.q_proj.lora_A.weight": torch.zeros(8, 128)}


def one_more(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {f"{HEAD}7.self_attn.q_proj.lora_A.weight": torch.zeros(8, 64)}


FAULTS: list[tuple[Any, dict[str, Any], str]] = [
    (renamed, {}, r"^\S+: 0 of its 28 weights fit .* 28 have no place there \(.*language_model.* 28 places have no"),
    (half, {}, r"14 of its 14 weights fit the base; 14 places have no weight \(model\.layers\.1\."),
    (without_a, {}, r"26 of its 26 .* 2 places have no weight \(model\.layers\.0\.self_attn\.q_proj\.lora_A\.weight"),
    (wider, {}, r"q_proj\.lora_A\.weight is \[8, 128\], and must be \[8, 64\] by"),
    (one_more, {}, r"28 of its 29 .* 1 have no place there \(model\.layers\.7\.self_attn\.q_proj\.lora_A\.weight\)"),
    (lambda weights: {"x": torch.zeros(1)}, {}, r"0 of its 1 weights fit"),
    (None, {"r": 4}, r"lora_A\.weight is \[8, 64\], and must be \[4, 64\] by .*, and 27 more weights differ"),
    (None, {"modules_to_save": ["lm_head"]}, r"lacks the weights of .*lm_head"),
    (None, {"lora_bias": True}, r"14 places have no weight \(.*lora_B\.bias"),
    (None, {"target_modules": ["nowhere"]}, "PEFT cannot apply it to this base: .*nowhere"),
    (None, {"quantum_rank": 3}, "an option that this PEFT does not know: quantum_rank"),
]


@pytest.mark.parametrize(("weights", "config", "message"), FAULTS)
def test_an_adapter_that_does_not_fit_is_refused_before_and_while_it_is_loaded(
    adapter: Path, tiny_base: Path, tmp_path: Path, weights: Any, config: dict[str, Any], message: str
) -> None:
    from transformers import AutoModelForCausalLM

    folder = edited(adapter, tmp_path / "odd", weights, **config)
    settings = ModelConfig(base=str(tiny_base))
    with pytest.raises(ModelError, match=message):
        resolve_model(str(tiny_base), settings, folder)
    with pytest.raises(ModelError, match=message):
        load_adapter(AutoModelForCausalLM.from_pretrained(tiny_base), folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda whole: whole[:-2000], "is not a whole safetensors file"),
        (lambda whole: whole[:100], "safetensors"),
        (lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 132\n", "Git LFS pointer"),
        (lambda _: b"", "safetensors"),
    ],
)
def test_weights_that_are_not_whole_are_refused_without_the_base(
    adapter: Path, tmp_path: Path, content: Callable[[bytes], bytes], message: str
) -> None:
    folder = edited(adapter, tmp_path / "cut")
    (folder / WEIGHTS).write_bytes(content((folder / WEIGHTS).read_bytes()))
    with pytest.raises(ModelError, match=message):
        check_adapter_fits(folder, "owner/not-downloaded", None)
