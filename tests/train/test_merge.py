import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from pacos import cli
from pacos.errors import ModelError, RunError
from pacos.serving.merged import measure_drift
from pacos.train.export.merge import merge
from tests.support.small_training import train_here, training_config, write_tasks
from tests.support.tiny_llama import build_tiny_llama


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base of its own and the adapter trained on it."""
    folder = tmp_path_factory.mktemp("merge")
    base = build_tiny_llama(folder / "base")
    config = training_config(folder, base, write_tasks(folder / "tasks.jsonl", 24), "fruit")
    train_here(config)
    return config.run_dir / "train" / "adapter"


def test_the_merged_model_is_the_base_plus_the_update(
    trained: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "merged"
    monkeypatch.setattr("sys.argv", ["pacos", "merge", str(trained), "--out", str(out)])
    with caplog.at_level(logging.INFO, logger="pacos"), pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert f"vllm serve {out} --served-model-name merged" in capsys.readouterr().out
    assert "merged logits differ" in caplog.text
    base = load_file(trained.parents[3] / "base" / "model.safetensors")
    merged, update = load_file(out / "model.safetensors"), load_file(trained / "adapter_model.safetensors")
    name = "model.layers.1.self_attn.q_proj"
    up, down = (update[f"base_model.model.{name}.lora_{half}.weight"] for half in "BA")
    expected = base[f"{name}.weight"] + 16 / 8 * up @ down
    assert torch.allclose(merged[f"{name}.weight"], expected, atol=1e-6)
    assert merged.keys() == base.keys()
    written = json.loads((out / "pacos.json").read_text())
    assert written["drift"]["share"] < 1e-3 and written["drift"]["same_token"] == 1.0
    assert "### Instruction" in (out / "chat_template.jinja").read_text()


def test_an_adapter_of_another_base_is_not_merged(trained: Path, tmp_path: Path) -> None:
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    shutil.copytree(trained, adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(build_tiny_llama(base, seed=1))
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="other weights than"):
        merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_existing_folder_is_left_alone(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="already exists"):
        merge(trained, tmp_path)


def test_a_model_that_reads_back_differently_is_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import LlamaForCausalLM

    save = LlamaForCausalLM.save_pretrained

    def save_damaged(self: Any, folder: Path, **options: Any) -> None:
        save(self, folder, **options)
        weights = load_file(Path(folder) / "model.safetensors")
        save_file(weights | {"model.norm.weight": weights["model.norm.weight"] * 2}, Path(folder) / "model.safetensors")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", save_damaged)
    with pytest.raises(RunError, match="reads back differently"):
        merge(trained, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_drift_is_set_against_what_the_adapter_changes() -> None:
    untuned, before = torch.zeros(2, 3), torch.tensor([[3.0, 0, 0], [0, 3.0, 0]])
    after = before + torch.tensor([[0.3, 0, 0], [4.0, 0, 0]])
    drift = measure_drift(before, after, untuned)
    assert drift.largest == pytest.approx(4.0) and drift.same_token == 0.5
    assert drift.share == pytest.approx((0.09 + 16) ** 0.5 / 18**0.5)
