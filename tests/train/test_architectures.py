"""Architectures of several kinds, each trained as `pacos train` does it, beside plain PEFT on unpadded rows."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.architectures import PAGE, SAVED, mapping_names, open_precision, page, train_both
from pacos.adapters import WEIGHTS
from pacos.config import Config
from pacos.errors import ConfigError
from pacos.train import launch, pipeline
from pacos.train.attention.dispatch import plain_attention
from pacos.train.model.load import MetaDeviceError, load_model, meta_model
from pacos.train.model.memory import estimate_memory
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import collate_padded
from pacos.train.packing.rules import RowRules
from tests.support.small_architectures import build
from tests.support.small_training import train_here, training_config, write_pairs, write_tasks
from tests.train.test_batch import exact_norm, loss_and_gradients, one_at_a_time, random_examples, tiny_model, worst

TRAINED = {
    "qwen3_moe": "equal, packed",
    "cohere": "equal, packed",
    "lfm2": "equal, unpacked",
    "mamba": "equal, unpacked",
    "stablelm": "equal, unpacked",
    "gpt_oss": "equal, unpacked",
    "gemma3_text, window 32": "equal, unpacked",
}


@pytest.mark.parametrize("name", TRAINED)
def test_five_steps_have_the_losses_of_plain_peft_on_each_row_alone(tmp_path: Path, name: str) -> None:
    build(name, tmp_path / "base")
    outcome = train_both(tmp_path / "base", tmp_path / "run", "float32")
    assert outcome.state == TRAINED[name], outcome


def test_the_table_is_that_of_the_results_and_says_which_transformers_it_was_made_with() -> None:
    results = json.loads(SAVED.read_text(encoding="utf-8"))
    assert PAGE.read_text(encoding="utf-8") == page(results), "run `python -m benchmarks.architectures --table`"
    version = results["versions"]["transformers"]
    assert f"transformers {version}" in PAGE.read_text(encoding="utf-8")
    import transformers

    if transformers.__version__ == version:
        assert set(mapping_names()) <= results["outcomes"].keys()
    states = {one["state"] for outcome in results["outcomes"].values() for one in outcome.values()}
    assert states <= {"equal, packed", "equal, unpacked", "refused", "not yet", "not built"}
    equal = [name for name, one in results["outcomes"].items() if one["float32"]["state"].startswith("equal")]
    assert len(equal) >= 60


@pytest.mark.parametrize("objective", ["sft", "dpo"])
def test_padded_rows_train_as_packed_rows_do(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    rows = write_tasks(tmp_path / "rows.jsonl", 24) if objective == "sft" else write_pairs(tmp_path / "rows.jsonl", 24)
    settings: dict[str, Any] = {"objective": objective, "epochs": 1, "pack_tokens": 512, "eval_examples": 4}
    packed = train_here(training_config(tmp_path, tiny_base, rows, "packed", **settings))
    monkeypatch.setattr(pipeline, "choose_rows", lambda *_: RowRules(unpacked="the test says so"))
    padded = train_here(training_config(tmp_path, tiny_base, rows, "padded", **settings))
    for one, other in zip(packed, padded, strict=True):
        for figure in one.keys() & {"loss", "eval_loss", "rewards/margins", "logps/chosen", "grad_norm"}:
            assert other[figure] == pytest.approx(one[figure], rel=1e-4, abs=1e-5), figure
    assert all(line["computed_tokens"] == line["tokens"] for line in padded)


def test_padded_loss_and_gradients_equal_those_of_one_example_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.models.llama.modeling_llama.LlamaRMSNorm.forward", exact_norm)
    model, rows = tiny_model(), random_examples(12)
    model.get_base_model().set_attn_implementation("sdpa")
    expected, gradients = one_at_a_time(model, rows)
    found, padded = loss_and_gradients(model, [collate_padded(rows[:5], 0), collate_padded(rows[5:], 0)])
    assert found == pytest.approx(expected, rel=1e-12)
    assert worst(padded, gradients) < 1e-12


def test_a_process_without_examples_of_a_padded_step_has_zero_loss_and_gradients() -> None:
    model = tiny_model()
    model.get_base_model().set_attn_implementation("eager")
    loss, gradients = loss_and_gradients(model, [collate_padded([], 0)])
    assert loss == 0.0 and all(not gradient.any() for gradient in gradients)


@pytest.fixture(scope="module")
def mixture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mixture of experts, which torch does not run without storage."""
    folder = tmp_path_factory.mktemp("mixture") / "base"
    build("qwen3_moe", folder)
    return folder


def test_memory_that_cannot_be_estimated_is_said_and_skipped(
    tmp_path: Path, mixture: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "has_gpu", lambda: False)
    config = training_config(tmp_path, mixture, write_tasks(tmp_path / "tasks.jsonl", 16), epochs=1)
    with pytest.raises(MetaDeviceError):
        estimate_memory(meta_model(config), config.train, torch.float32, 128)
    assert "memory of a device: not estimated, the model cannot be run without storage" in "\n".join(
        launch.plan(config)
    )
    caplog.set_level("INFO", logger="pacos")
    assert len(train_here(config)) == 2
    assert "train: memory: not estimated" in caplog.text


def test_why_rows_are_not_packed_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    build("mistral, window 32", tmp_path / "base")
    config = training_config(tmp_path, tmp_path / "base", write_tasks(tmp_path / "tasks.jsonl", 8), epochs=1)
    caplog.set_level("INFO", logger="pacos")
    train_here(config)
    [line] = [record.getMessage() for record in caplog.records if "not packed" in record.getMessage()]
    assert "each example in a row of its own" in line and "its attention window of 32 is shorter" in line


def test_lora_on_the_embeddings_trains(tmp_path: Path, tiny_base: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", 16)
    config = training_config(
        tmp_path, tiny_base, tasks, lora={"r": 4, "alpha": 8, "targets": ["embed_tokens", "q_proj"]}
    )
    metrics = train_here(config)
    assert metrics[-1]["loss"] < metrics[0]["loss"]
    from safetensors.torch import load_file

    names = load_file(config.run_dir / "train" / "adapter" / "adapter_model.safetensors")
    assert any("lora_embedding_A" in name for name in names) and not any("base_layer" in name for name in names)


def test_outputs_that_a_model_changes_in_place_pass_through_fused_layers() -> None:
    """As Gemma 3n does: a view from within an autograd function must not be changed in place."""
    from pacos.train.model.fused_lora import FusedLora

    draws = [torch.randn(*shape, dtype=torch.float64) for shape in ((2, 3, 4), (5, 4), (2, 4), (5, 2))]
    x, weight, a, b = (draw.requires_grad_(index != 1) for index, draw in enumerate(draws))
    output = FusedLora.apply(x, weight, None, None, a, b, 0.5)
    output[..., 0] *= 2
    found = torch.autograd.grad(output.sin().sum(), [x, a, b])
    plain = x @ weight.t() + 0.5 * (x @ a.t() @ b.t())
    plain = torch.cat([plain[..., :1] * 2, plain[..., 1:]], -1)
    torch.testing.assert_close(found, torch.autograd.grad(plain.sin().sum(), [x, a, b]))


def scaled(folder: Path, base: Path, name: str, **train: Any) -> Config:
    lora = {"r": 4, "alpha": 8, "extra": train.pop("extra", {})}
    tasks = write_tasks(folder / "tasks.jsonl", 8)
    return training_config(folder, base, tasks, name, lora=lora, max_steps=1, **train)


@pytest.mark.parametrize("option", ["alpha_pattern", "rank_pattern"])
def test_an_adapter_goes_on_at_the_scale_that_it_was_trained_at(tmp_path: Path, tiny_base: Path, option: str) -> None:
    first = scaled(tmp_path, tiny_base, "first", extra={option: {"q_proj": 2}})
    train_here(first)
    adapter = str(first.run_dir / "train" / "adapter")
    with pytest.raises(ConfigError, match=rf"train\.lora\.extra\.{option}: .*does not match .*\n.*'q_proj': 2"):
        load_model(scaled(tmp_path, tiny_base, "second", adapter=adapter), "cpu")
    train_here(scaled(tmp_path, tiny_base, "third", adapter=adapter, extra={option: {"q_proj": 2}}))


def test_an_adapter_of_a_mixture_of_experts_goes_on(tmp_path: Path, mixture: Path) -> None:
    """PEFT adds patterns of its own for these."""
    first = scaled(tmp_path, mixture, "first")
    train_here(first)
    second = scaled(tmp_path, mixture, "second", adapter=str(first.run_dir / "train" / "adapter"))
    train_here(second)
    before, after = (load_file(one.run_dir / "train" / "adapter" / WEIGHTS) for one in (first, second))
    assert before.keys() == after.keys() and any("experts" in name for name in after)
    assert not all(torch.equal(before[name], after[name]) for name in after)


def test_an_adapter_without_patterns_is_not_given_some(tmp_path: Path, tiny_base: Path) -> None:
    first = scaled(tmp_path, tiny_base, "first")
    train_here(first)
    adapter = str(first.run_dir / "train" / "adapter")
    with pytest.raises(ConfigError, match=r"alpha_pattern: .*does not match .*\n.*leave it out"):
        load_model(
            scaled(tmp_path, tiny_base, "second", adapter=adapter, extra={"alpha_pattern": {"q_proj": 2}}), "cpu"
        )


def test_a_full_bfloat16_model_that_is_not_packed_trains_at_its_own_logits(tmp_path: Path) -> None:
    build("lfm2", tmp_path / "base")
    config = training_config(
        tmp_path,
        tmp_path / "base",
        write_tasks(tmp_path / "tasks.jsonl", 8),
        method="full",
        max_steps=2,
        warmup_ratio=0.0,
        learning_rate=1e-3,
    )
    config = config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})})
    with open_precision():
        first, second = train_here(config)
        model = load_model(config, "cpu").eval()
    rows = random_examples(3)
    with torch.no_grad(), plain_attention(model):
        found = token_losses(model, collate_padded(rows, 0))
        alone = [model(input_ids=torch.tensor([row.ids])).logits[0, row.prompt_length - 1 : -1].float() for row in rows]
    labels = torch.cat([torch.tensor(row.ids[row.prompt_length :]) for row in rows])
    torch.testing.assert_close(
        found, torch.nn.functional.cross_entropy(torch.cat(alone), labels, reduction="none"), rtol=0.05, atol=0.1
    )
    assert second["loss"] != first["loss"]
