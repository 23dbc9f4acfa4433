import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from pacos.adapters import served_lora_rank, serving_problems
from pacos.config import LoraConfig, load_config
from pacos.errors import ConfigError, ModelError, TrainingError
from pacos.train import launch
from pacos.train.interfaces import method_of
from pacos.train.launch import warnings
from pacos.train.model.compilation import check_compiled, compile_pointwise
from pacos.train.model.fused_lora import FusedForward, FusedLora, check_fused, fuse_lora
from pacos.train.model.load import load_model, should_compile
from pacos.train.model.lora import add_lora
from pacos.train.model.precision import precision_name
from tests.conftest import ROOT
from tests.support.small_architectures import small_config
from tests.support.small_training import train_here, training_config, write_tasks

REFUSED: dict[str, Any] = {
    "use_dora": True,
    "lora_bias": True,
    "modules_to_save": ["lm_head"],
    "layer_replication": [[0, 2], [1, 2]],
    "use_qalora": True,
    "bias": "all",
    "init_lora_weights": "pissa",
    "rank_pattern": {"q_proj": 600},
}


def test_any_other_option_of_peft_passes_through_and_its_cost_is_said_first(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 16)
    lora = {"r": 8, "alpha": 16, "rslora": True, "extra": {"use_dora": True, "alpha_pattern": {"q_proj": 4}}}
    config = training_config(tmp_path, tiny_base, tasks, lora=lora)
    [warning] = warnings(config.train)
    assert "vLLM will refuse this adapter (use_dora: DoRA rescales" in warning
    train_here(config)
    adapter = config.run_dir / "train" / "adapter"
    settings = json.loads((adapter / "adapter_config.json").read_text())
    assert settings["use_dora"] and settings["use_rslora"] and settings["alpha_pattern"] == {"q_proj": 4}
    assert "rsLoRA, rank 8, alpha 16, dropout 0.0, use_dora True" in (adapter / "README.md").read_text()
    assert method_of(config.train).serve_command(config, adapter).startswith(f"pacos merge {adapter} ")
    with pytest.raises(ModelError, match="vLLM refuses it: use_dora"):
        served_lora_rank([adapter])


@pytest.mark.parametrize("option", REFUSED)
def test_what_is_called_refused_is_what_vllm_refuses(option: str) -> None:
    """vLLM's own validation is the oracle."""
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    from vllm.config.lora import LoRAConfig
    from vllm.lora.peft_helper import PEFTHelper

    plain: dict[str, Any] = {"r": 16, "lora_alpha": 32, "target_modules": ["q_proj"]}
    allowed: list[dict[str, Any]] = [
        {},
        {"use_rslora": True},
        {"init_lora_weights": "gaussian"},
        {"rank_pattern": {"q_proj": 32}},
    ]
    for settings in [plain | extra for extra in allowed]:
        PEFTHelper.from_dict(settings).validate_legal(LoRAConfig(max_lora_rank=512))
        assert not serving_problems(settings)
    settings = plain | {option: REFUSED[option]}
    with pytest.raises(ValueError):
        PEFTHelper.from_dict(settings).validate_legal(LoRAConfig(max_lora_rank=512))
    assert len(serving_problems(settings)) == 1


@pytest.mark.parametrize(
    ("extra", "complaint"),
    [
        ({"use_dorra": True}, "did you mean use_dora"),
        ({"lora_alpha": 4}, "lora_alpha has a key of its own"),
    ],
)
def test_an_option_that_peft_has_not_or_that_is_ours_is_refused(
    tmp_path: Path, extra: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        warnings(training_config(tmp_path, tmp_path, tmp_path, lora={"extra": extra}).train)


def test_a_run_that_does_not_teach_eos_is_warned_of(tmp_path: Path) -> None:
    assert (
        "will not learn to stop" in warnings(training_config(tmp_path, tmp_path, tmp_path, append_eos=False).train)[0]
    )
    assert not warnings(training_config(tmp_path, tmp_path, tmp_path).train)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_qlora_without_a_gpu_is_a_clear_error(tmp_path: Path, tiny_base: Path) -> None:
    config = training_config(tmp_path, tiny_base, tmp_path, method="qlora")
    with pytest.raises(ConfigError, match="qlora needs an NVIDIA GPU"):
        load_model(config, "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize(("arithmetic", "computed"), [(False, torch.float32), (True, torch.bfloat16)])
def test_a_bfloat16_base_is_computed_in_float32_where_the_cpu_has_no_amx(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, arithmetic: bool, computed: torch.dtype
) -> None:
    monkeypatch.setattr("pacos.train.model.precision.has_amx", lambda: arithmetic)
    config = training_config(tmp_path, tiny_base, tmp_path)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    model = load_model(config, "cpu")
    weight = model.get_input_embeddings().weight
    assert weight.dtype == computed and model(input_ids=torch.tensor([[1, 5]])).logits.dtype == computed
    assert ("slower in bfloat16" in precision_name(config)) is not arithmetic


@pytest.mark.parametrize("file", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_config_plans_its_training_without_a_gpu(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    overrides = [f"runs_dir={tmp_path}"]
    if "quickstart" in file.stem:
        overrides.append(f"model.base={request.getfixturevalue('smollm2')}")
    config = load_config(file, overrides)
    plan = "\n".join(launch.plan(config))
    assert "accelerate.commands.launch" in plan and "warning" not in plan


def lora_model(dtype: torch.dtype, **lora: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    base: Any = LlamaForCausalLM(LlamaConfig(vocab_size=64, num_key_value_heads=1, attention_bias=True, **sizes))
    model = add_lora(base.to(dtype=dtype), LoraConfig(r=4, alpha=8, **lora))
    for name, parameter in model.named_parameters():
        if parameter.requires_grad or name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.1)
    return model.double() if dtype == torch.float64 else model


def outcome(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    ids = torch.arange(2 * 9).view(2, 9)
    hidden = model.get_input_embeddings()(ids).detach().requires_grad_()
    logits = model(inputs_embeds=hidden).logits
    logits.sin().sum().backward()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return logits.detach(), [hidden.grad, *(parameter.grad for parameter in trained)]


def test_fused_lora_equals_pefts_layer_with_biases_and_rslora() -> None:
    expected, gradients = outcome(lora_model(torch.float64, rslora=True))
    fused = lora_model(torch.float64, rslora=True)
    assert fuse_lora(fused) == 2 * 7
    found, fused_gradients = outcome(fused)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(fused_gradients, gradients, rtol=1e-12, atol=1e-12)
    with fused.disable_adapter():
        assert torch.equal(outcome(fused)[0], outcome(fused.get_base_model())[0])


def test_fused_lora_keeps_float32_adapters_on_a_bfloat16_base() -> None:
    exact, _ = outcome(lora_model(torch.float32))
    expected, gradients = outcome(lora_model(torch.bfloat16))
    fused = lora_model(torch.bfloat16)
    fuse_lora(fused)
    found, fused_gradients = outcome(fused)
    assert [gradient.dtype for gradient in fused_gradients] == [gradient.dtype for gradient in gradients]
    assert {gradient.dtype for gradient in fused_gradients[1:]} == {torch.float32}
    assert (found - exact).norm() < 1.2 * (expected - exact).norm(), "no less precise than PEFT's"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_fused_layers_pass_their_check_whatever_the_adapters_are(dtype: torch.dtype) -> None:
    model = lora_model(dtype, rslora=True)
    fuse_lora(model)
    before = {name: weight.clone() for name, weight in model.named_parameters()}
    check_fused(model)
    assert all(torch.equal(weight, before[name]) for name, weight in model.named_parameters())


fused: Callable[..., torch.Tensor] = FusedLora.apply


def unscaled(
    x: torch.Tensor, weight: Any, state: Any, bias: Any, a: torch.Tensor, b: torch.Tensor, scaling: float
) -> torch.Tensor:
    return fused(x, weight, state, bias, a, b, 1.0)


def without_bias(
    x: torch.Tensor, weight: Any, state: Any, bias: Any, a: torch.Tensor, b: torch.Tensor, scaling: float
) -> torch.Tensor:
    return fused(x, weight, state, None, a, b, scaling)


def input_gradient_of_the_base_alone(
    x: torch.Tensor, weight: Any, state: Any, bias: Any, a: torch.Tensor, b: torch.Tensor, scaling: float
) -> torch.Tensor:
    update = fused(x.detach(), torch.zeros_like(weight), state, None, a, b, scaling)
    return torch.nn.functional.linear(x, weight, bias) + update


def b_that_is_not_trained(
    x: torch.Tensor, weight: Any, state: Any, bias: Any, a: torch.Tensor, b: torch.Tensor, scaling: float
) -> torch.Tensor:
    return fused(x, weight, state, bias, a, b.detach() + 0 * b, scaling)


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        (unscaled, "output"),
        (without_bias, "output"),
        (input_gradient_of_the_base_alone, "gradient of input"),
        (b_that_is_not_trained, "gradient of B"),
    ],
)
def test_a_fused_layer_that_computes_something_else_is_refused_before_training(
    monkeypatch: pytest.MonkeyPatch, fault: Callable[..., torch.Tensor], named: str
) -> None:
    model = lora_model(torch.bfloat16)
    fuse_lora(model)
    monkeypatch.setattr("pacos.train.model.fused_lora.FusedLora", SimpleNamespace(apply=fault))
    with pytest.raises(TrainingError, match=f"{named} of the fused layer .*q_proj"):
        check_fused(model)


@pytest.mark.parametrize("lora", [{"dropout": 0.1}, {"extra": {"use_dora": True}}, {"extra": {"lora_bias": True}}])
def test_what_is_not_plain_lora_keeps_pefts_layer(lora: dict[str, Any]) -> None:
    assert fuse_lora(lora_model(torch.float32, targets=["q_proj"], **lora)) == 0


def test_qlora_learns_on_a_base_in_four_bits(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, uncompiled: None
) -> None:
    """bitsandbytes quantises on CPUs as well; pacos offers it where it is fast."""
    pytest.importorskip("bitsandbytes", reason="needs bitsandbytes: scripts/setup installs it")
    monkeypatch.setattr("pacos.train.model.quantization.check_four_bits", lambda: None)
    tasks = write_tasks(tmp_path / "tasks.jsonl", 40)
    config = training_config(tmp_path, tiny_base, tasks, method="qlora", compile=True, epochs=4)
    model = load_model(config, "cpu")
    for name, weight in model.named_parameters():
        assert weight.dtype == (torch.uint8 if name.endswith("proj.base_layer.weight") else torch.float32), name
    # Seven linear layers in each of two.
    assert sum(isinstance(vars(layer).get("forward"), FusedForward) for layer in model.modules()) == 2 * 7
    metrics = train_here(config)
    assert metrics[-1]["loss"] < 0.98 * metrics[0]["loss"]
    assert (config.run_dir / "train" / "adapter" / "adapter_model.safetensors").is_file()


@pytest.fixture
def uncompiled() -> Iterator[None]:
    """torch.compile's functions run as they were written: what a kernel computes, its compiler answers for."""
    from transformers.models.llama import modeling_llama

    rotary = modeling_llama.apply_rotary_pos_emb
    with torch.compiler.set_stance("force_eager"):
        yield
    modeling_llama.apply_rotary_pos_emb = rotary


def test_what_is_compiled_computes_what_the_model_does(uncompiled: None) -> None:
    model = lora_model(torch.float64)
    expected, gradients = outcome(model)
    # Two norms and an MLP in each of two layers, and the last norm.
    assert compile_pointwise(model) == 2 * 3 + 1
    check_compiled(model)
    found, compiled_gradients = outcome(model.train())
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(compiled_gradients, gradients, rtol=1e-12, atol=1e-12)


def test_an_mlp_of_another_kind_is_left_uncompiled(uncompiled: None) -> None:
    model = lora_model(torch.float64)
    layers = model.get_base_model().model.layers
    mlp_class = type(layers[0].mlp)
    halved = type("HalvedMLP", (mlp_class,), {"forward": lambda mlp, hidden: mlp_class.forward(mlp, hidden) / 2})
    layers[1].mlp.__class__ = halved
    expected, _ = outcome(model)
    compile_pointwise(model)
    assert "forward" in vars(layers[0].mlp) and "forward" not in vars(layers[1].mlp)
    torch.testing.assert_close(outcome(model)[0], expected, rtol=1e-12, atol=1e-12)


def test_a_module_that_is_compiled_wrongly_is_left_uncompiled_and_said(
    uncompiled: None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = lora_model(torch.float64)
    monkeypatch.setattr("pacos.train.model.compilation.gated", lambda activation, gate, up: activation(gate) * up / 2)
    expected, _ = outcome(model)
    compile_pointwise(model)
    check_compiled(model)
    assert "leaves LlamaMLP uncompiled: it gives a different output" in caplog.text
    torch.testing.assert_close(outcome(model.train())[0], expected, rtol=1e-12, atol=1e-12)


def test_rotary_positions_that_are_compiled_wrongly_are_left_uncompiled(
    uncompiled: None, caplog: pytest.LogCaptureFixture
) -> None:
    from transformers.models.llama import modeling_llama

    model = lora_model(torch.float64)
    compile_pointwise(model)
    plain = modeling_llama.apply_rotary_pos_emb.compiled

    def keys_turned_back(
        query: torch.Tensor, key: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, unsqueeze_dim: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return plain(query, key, cos, sin, unsqueeze_dim)[0], plain(query, key, cos, -sin, unsqueeze_dim)[1]

    modeling_llama.apply_rotary_pos_emb.compiled = keys_turned_back
    check_compiled(model)
    assert "leaves the rotary embedding uncompiled: it gives a different key than" in caplog.text
    assert not hasattr(modeling_llama.apply_rotary_pos_emb, "compiled"), "it is transformers' own again"


@pytest.mark.parametrize("kind", ["gpt_neox", "persimmon", "nanochat", "gpt_oss"])
def test_architectures_of_other_forms_pass_the_check_of_what_is_compiled(uncompiled: None, kind: str) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(small_config(kind, 64, {}))
    expected = model.eval()(input_ids=torch.arange(9)[None]).logits
    compile_pointwise(model)
    check_compiled(model)
    torch.testing.assert_close(model(input_ids=torch.arange(9)[None]).logits, expected)


@pytest.mark.parametrize(
    ("asked", "gpu", "compiled"), [("auto", False, False), ("auto", True, True), (True, False, True)]
)
def test_norms_are_compiled_on_gpus_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_base: Path, asked: bool | str, gpu: bool, compiled: bool
) -> None:
    monkeypatch.setattr("pacos.train.model.load.has_gpu", lambda: gpu)
    config = training_config(tmp_path, tiny_base, tmp_path / "none.jsonl", compile=asked)
    assert should_compile(config.train) is compiled
