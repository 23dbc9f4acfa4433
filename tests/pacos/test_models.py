import json
from pathlib import Path

import pytest

from pacos.adapters import read_adapter_config, served_lora_rank
from pacos.config import ModelConfig
from pacos.errors import ModelError
from pacos.models import load_model_config, load_tokenizer, loading_options, model_error


def adapter(folder: Path, **config: object) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"r": 16, **config}), encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    return folder


def test_a_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(ModelError, match=r"\./nowhere: no such model folder"):
        load_model_config("./nowhere", ModelConfig(base="./nowhere"))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        load_tokenizer(str(tmp_path), ModelConfig(base=str(tmp_path)))


def test_a_token_id_for_which_no_machine_has_memory_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    content = json.loads((tiny_base / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["vocab"]["apple"] = 4_294_967_290
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=r"tokenizer\.json: has a token of id 4294967290"):
        load_tokenizer(str(tmp_path), ModelConfig(base=str(tmp_path)))


def test_a_tokenizer_on_which_the_library_panics_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    content = json.loads((tiny_base / "tokenizer.json").read_text(encoding="utf-8"))
    content["model"]["continuing_subword_prefix"] = "x" * 50
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_tokenizer(str(tmp_path), ModelConfig(base=str(tmp_path)))


def test_a_gated_model_says_how_to_get_access() -> None:
    refusal = OSError("You are trying to access a gated repo. 401 Client Error.")
    assert "hf auth login" in str(model_error("meta-llama/Llama-3.1-8B", refusal))


def test_a_hub_model_offline_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="not in the local cache"):
        load_model_config("pacos-test/never-downloaded", ModelConfig(base="pacos-test/never-downloaded"))


@pytest.mark.parametrize(("ranks", "served"), [([8], 8), ([4], 8), ([16, 64], 64), ([65], 128), ([1], 1)])
def test_the_server_is_started_for_the_highest_rank(tmp_path: Path, ranks: list[int], served: int) -> None:
    adapters = [adapter(tmp_path / str(rank), r=rank) for rank in ranks]
    assert served_lora_rank(adapters) == served


def test_a_rank_pattern_counts_too(tmp_path: Path) -> None:
    assert served_lora_rank([adapter(tmp_path / "a", rank_pattern={"q_proj": 40})]) == 64


@pytest.mark.parametrize("config", [{"use_dora": True}, {"bias": "all"}, {"r": 600}])
def test_what_vllm_would_refuse_is_said_beforehand(tmp_path: Path, config: dict[str, object]) -> None:
    with pytest.raises(ModelError):
        served_lora_rank([adapter(tmp_path / "a", **config)])


def test_an_adapter_without_weights_is_refused(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="weights"):
        read_adapter_config(folder)


def test_the_bases_revision_is_asked_of_no_other_model() -> None:
    config = ModelConfig(base="owner/teacher", revision="v2")
    assert loading_options("owner/teacher", config)["revision"] == "v2"
    assert loading_options("owner/student", config)["revision"] is None
