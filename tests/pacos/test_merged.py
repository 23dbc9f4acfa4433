"""Merged copies: their weights and dtype, and that a server of one answers as the adapter does."""

import asyncio
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, SuiteConfig
from pacos.errors import ConfigError, ModelError
from pacos.models import load_tokenizer
from pacos.records import Prediction, read_records
from pacos.serving.adapter_check import check_adapters
from pacos.serving.completion import Sampling
from pacos.serving.connect import open_engine, serves_merged
from pacos.serving.merged import PROBES, MergedCopy, merged_copy
from tests.evaluate.test_evaluate import scores
from tests.support.chat_adapter import OTHER, rendered, write_chat_adapter
from tests.support.evaluated_run import evaluate, experiment
from tests.support.superni_folder import instances, write_superni
from tests.support.tiny_llama import write_adapter

WEIGHT = "model.layers.1.self_attn.q_proj"


@pytest.fixture(scope="module")
def adapter(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_adapter(tiny_base, tmp_path_factory.mktemp("merging") / "adapter", scale=0.3, seed=5)


def update(adapter: Path) -> torch.Tensor:
    """alpha / r · B · A of one layer; alpha is twice r in these adapters."""
    halves = load_file(adapter / "adapter_model.safetensors")
    up, down = (halves[f"base_model.model.{WEIGHT}.lora_{half}.weight"] for half in "BA")
    product: torch.Tensor = 2 * up @ down
    return product


def merged_weight(base: Path, adapter: Path, folder: Path, dtype: str) -> tuple[torch.Tensor, str]:
    with merged_copy(adapter, str(base), ModelConfig(base=str(base)), folder, dtype=dtype) as copy:
        return load_file(copy.folder / "model.safetensors")[f"{WEIGHT}.weight"], copy.dtype


def test_a_copy_is_the_base_plus_the_update_and_is_deleted_at_the_end(
    tiny_base: Path, adapter: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "merged"
    folder.mkdir()
    (folder / "left_by_a_killed_run").write_text("x")
    weight, dtype = merged_weight(tiny_base, adapter, folder, "float32")
    expected = load_file(tiny_base / "model.safetensors")[f"{WEIGHT}.weight"] + update(adapter)
    assert dtype == "float32" and torch.allclose(weight, expected, atol=1e-6)
    assert not folder.exists()


def test_a_copy_of_a_chat_adapter_has_its_template_and_is_probed_in_it(tiny_base: Path, tmp_path: Path) -> None:
    adapter = write_chat_adapter(tiny_base, tmp_path / "adapter", OTHER)
    settings = ModelConfig(base=str(tiny_base))
    with merged_copy(adapter, str(tiny_base), settings, tmp_path / "merged", dtype="float32") as copy:
        tokenizer = load_tokenizer(str(copy.folder), settings)
        assert tokenizer.chat_template == OTHER
        assert copy.probes == [rendered(tokenizer, ("user", text)) for text in PROBES]


def test_a_copy_is_deleted_when_its_server_fails(tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError),
        merged_copy(adapter, str(tiny_base), ModelConfig(base=str(tiny_base)), tmp_path / "merged", dtype="float32"),
    ):
        raise RuntimeError
    assert not (tmp_path / "merged").exists()


def test_bfloat16_is_kept_where_it_loses_little_of_the_adapter(tiny_base: Path, tmp_path: Path) -> None:
    """A large update survives the rounding of weights of its own size; one of 1e-4 of them does not."""
    large = write_adapter(tiny_base, tmp_path / "large", scale=0.3, seed=6)
    small = write_adapter(tiny_base, tmp_path / "small", scale=1e-4, seed=6)
    weight, dtype = merged_weight(tiny_base, large, tmp_path / "merged", "bfloat16")
    assert (weight.dtype, dtype) == (torch.bfloat16, "bfloat16")
    weight, dtype = merged_weight(tiny_base, small, tmp_path / "merged", "bfloat16")
    base = load_file(tiny_base / "model.safetensors")[f"{WEIGHT}.weight"]
    assert (weight.dtype, dtype) == (torch.float32, "float32")
    assert torch.allclose(weight - base, update(small), atol=1e-8), "as exact as if bfloat16 had not been tried"


def test_merged_and_adapter_give_the_same_greedy_answers(
    tiny_base: Path, live_engine_config: EngineConfig, adapter: Path, tmp_path: Path
) -> None:
    tasks = {"task1_a": {"Instances": instances("a", 12)}, "task2_b": {"Instances": instances("b", 12)}}
    suites = [SuiteConfig(name="superni", path=str(write_superni(tmp_path / "superni", tasks)), max_tokens=16)]
    answers, engines = {}, {"adapter": live_engine_config, "merged": EngineConfig(args={"max_model_len": 2048})}
    for serve, engine in engines.items():
        config = experiment(tiny_base, engine, tmp_path / serve, suites, tuned_elsewhere=adapter)
        config = config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"serve": serve})})
        folder = evaluate(config) / "tuned_elsewhere"
        rows = read_records(folder / "predictions.jsonl", Prediction)
        answers[serve] = {(row.task, row.instance): row.raw for row in rows}
        assert scores(folder)["adapter"]["serve"] == serve
        proof = scores(folder)["adapter"]["proof"]
        assert proof["largest_difference"] > 0.01 and proof["noise"] < 1e-3
        assert not (config.run_dir / "merged").exists()
    assert len(answers["merged"]) == 24 and answers["merged"] == answers["adapter"]


def test_a_server_of_the_base_instead_of_the_copy_is_refused(
    tiny_base: Path, live_engine_config: EngineConfig, adapter: Path, tmp_path: Path
) -> None:
    config = Config(name="x", model=ModelConfig(base=str(tiny_base), dtype="float32"), engine=live_engine_config)

    async def work(copy: MergedCopy) -> None:
        async with open_engine(config, tmp_path) as engine:
            engine.merged = copy  # the live server serves the base
            await check_adapters(engine, ["tuned"], [])

    with (
        merged_copy(adapter, str(tiny_base), config.model, tmp_path / "merged", dtype="float32") as copy,
        pytest.raises(ModelError, match="answers as the base does"),
    ):
        asyncio.run(work(copy))


def test_an_engine_of_a_merged_copy_refuses_to_answer_as_the_base(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path
) -> None:
    config = Config(name="x", model=ModelConfig(base=str(tiny_base)), engine=live_engine_config)

    async def work() -> None:
        async with open_engine(config, tmp_path) as engine:
            engine.merged = MergedCopy(tmp_path, "float32", [], [], [])
            await engine.complete([1, 30], Sampling(1))

    with pytest.raises(ValueError, match="cannot answer as its base"):
        asyncio.run(work())


def test_a_server_of_the_users_is_never_asked_for_a_merged_copy(tiny_base: Path) -> None:
    config = Config(name="x", model=ModelConfig(base=str(tiny_base)), engine=EngineConfig(url="http://127.0.0.1:9/v1"))
    assert not serves_merged(config)
    with pytest.raises(ConfigError, match=r"evaluate\.serve"):
        serves_merged(config.model_copy(update={"evaluate": EvaluateConfig(serve="merged")}))


def test_a_broken_adapter_leaves_no_copy(tiny_base: Path, adapter: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "adapter_config.json").write_bytes((adapter / "adapter_config.json").read_bytes())
    halves = load_file(adapter / "adapter_model.safetensors")
    save_file({name: half * float("nan") for name, half in halves.items()}, broken / "adapter_model.safetensors")
    with pytest.raises(ModelError, match="cannot be merged"):
        merged_weight(tiny_base, broken, tmp_path / "merged", "float32")
    assert not (tmp_path / "merged").exists()
