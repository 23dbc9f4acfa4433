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
from tests.support.tiny_llama import build_tiny_llama, write_adapter


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


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llama(tmp_path_factory.mktemp("plain") / "base")


@pytest.fixture
def adapter(base: Path, tmp_path: Path) -> Path:
    return write_adapter(base, tmp_path / "adapter", scale=0.3, seed=5)


def configure(adapter: Path, **settings: Any) -> None:
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


TIED: list[dict[str, Any]] = [
    {"target_modules": ["q_proj", "lm_head"]},
    {"target_modules": ["q_proj", "embed_tokens"]},
    {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
    {"modules_to_save": ["embed_tokens"], "target_modules": ["q_proj"]},
    {"modules_to_save": ["lm_head"], "target_modules": ["q_proj"]},
    {"trainable_token_indices": [5, 40], "target_modules": ["q_proj"]},
]


@pytest.mark.parametrize("settings", TIED)
def test_an_adapter_of_one_of_two_tied_embeddings_is_merged_into_that_one(
    base: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM

    def fresh() -> Any:
        return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)

    torch.manual_seed(3)
    tuned = get_peft_model(fresh(), LoraConfig(r=4, task_type="CAUSAL_LM", **settings))
    for parameter in tuned.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.2)
    tuned.save_pretrained(str(tmp_path / "adapter"))
    ids = torch.arange(3, 60)[None]
    expected = PeftModel.from_pretrained(fresh(), str(tmp_path / "adapter")).eval()(input_ids=ids).logits
    merge(tmp_path / "adapter", tmp_path / "merged")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()(input_ids=ids).logits
    assert (expected - fresh()(input_ids=ids).logits).abs().max() > 0.1
    assert torch.allclose(found, expected, atol=1e-5)


def test_embeddings_that_the_adapter_leaves_alone_stay_tied(adapter: Path, tmp_path: Path) -> None:
    merge(adapter, tmp_path / "merged")
    assert json.loads((tmp_path / "merged" / "config.json").read_text())["tie_word_embeddings"] is True
    assert "lm_head.weight" not in load_file(tmp_path / "merged" / "model.safetensors")


def test_an_adapter_that_changes_nothing_is_not_merged(base: Path, tmp_path: Path) -> None:
    zero = write_adapter(base, tmp_path / "zero", scale=0.0, seed=5)
    with pytest.raises(ModelError, match="changes nothing"):
        merge(zero, tmp_path / "merged")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["zero"]


def test_a_base_that_the_adapter_does_not_name_is_given(adapter: Path, base: Path, tmp_path: Path) -> None:
    configure(adapter, base_model_name_or_path=None)
    with pytest.raises(ModelError, match=r"which base it belongs to\n  → give it: --base PATH"):
        merge(adapter, tmp_path / "merged")
    merge(adapter, tmp_path / "merged", base=str(base))
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_a_base_that_moved_is_asked_for_without_the_words_of_another_command(adapter: Path, tmp_path: Path) -> None:
    configure(adapter, base_model_name_or_path=str(tmp_path / "gone"))
    with pytest.raises(ModelError, match="no such model folder") as refused:
        merge(adapter, tmp_path / "merged")
    assert "--base" in str(refused.value) and "model.base" not in str(refused.value)


def test_another_base_than_that_of_the_training_is_refused_where_it_is_given(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="other weights than"):
        merge(trained, tmp_path / "merged", base=str(build_tiny_llama(tmp_path / "base", seed=1)))
    assert not (tmp_path / "merged").exists()


def test_a_tokenizer_with_ids_beyond_the_embeddings_is_refused(adapter: Path, base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<x1>", "<x2>"])
    tokenizer.save_pretrained(adapter)
    with pytest.raises(ModelError, match="the tokenizer has"):
        merge(adapter, tmp_path / "merged")


def test_replicated_layers_are_not_merged(adapter: Path, base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    settings = LoraConfig(r=4, target_modules=["q_proj"], layer_replication=[(0, 2), (0, 2)], task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(str(tmp_path / "replicated"))
    with pytest.raises(ModelError, match="layer_replication"):
        merge(tmp_path / "replicated", tmp_path / "merged")


@pytest.mark.parametrize("settings", [{"alora_invocation_tokens": [5]}, {"init_lora_weights": "pissa_niter_4"}])
def test_an_adapter_that_is_no_sum_with_its_base_is_not_merged(
    adapter: Path, tmp_path: Path, settings: dict[str, Any]
) -> None:
    configure(adapter, **settings)
    with pytest.raises(ModelError, match=r"cannot be merged: (alora_invocation_tokens|pissa_niter)"):
        merge(adapter, tmp_path / "merged")


def test_a_bias_for_layers_without_one_is_not_merged(base: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base),
        LoraConfig(r=4, target_modules=["q_proj"], lora_bias=True, init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    tuned.save_pretrained(str(tmp_path / "biased"))
    with pytest.raises(ModelError, match=r"cannot be merged: .*bias"):
        merge(tmp_path / "biased", tmp_path / "merged")


def test_a_tokenizer_with_code_of_its_own_is_not_run_and_nothing_is_asked(
    adapter: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    shutil.copy(base / "tokenizer.json", adapter)
    code = {"AutoTokenizer": ["evil.EvilTokenizer", "evil.EvilTokenizer"]}
    (adapter / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "EvilTokenizer", "auto_map": code}))
    (adapter / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError, match="--trust-remote-code"):
        merge(adapter, tmp_path / "merged")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_leaves_nothing_half(adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError
    from transformers import LlamaForCausalLM

    def fill(self: Any, folder: Path, **_: Any) -> None:
        Path(folder).mkdir()
        (Path(folder) / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(LlamaForCausalLM, "save_pretrained", fill)
    with pytest.raises(RunError, match="the disk is full"):
        merge(adapter, tmp_path / "merged")
    assert [path.name for path in tmp_path.iterdir()] == ["adapter"]


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
    assert list(tmp_path.iterdir()) == []


def test_drift_is_set_against_what_the_adapter_changes() -> None:
    untuned, before = torch.zeros(2, 3), torch.tensor([[3.0, 0, 0], [0, 3.0, 0]])
    after = before + torch.tensor([[0.3, 0, 0], [4.0, 0, 0]])
    drift = measure_drift(before, after, untuned)
    assert drift.largest == pytest.approx(4.0) and drift.same_token == 0.5
    assert drift.share == pytest.approx((0.09 + 16) ** 0.5 / 18**0.5)
