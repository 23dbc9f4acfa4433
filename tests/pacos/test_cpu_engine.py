"""What a CPU engine is started with. That it answers with these flags, every test with a real vLLM shows."""

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from transformers import LlamaConfig

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.machine import can_compile
from pacos.serving import cpu as cpu_engine
from pacos.serving.cpu import (
    COMPILE_FROM_TOKENS,
    Flag,
    Workload,
    bytes_per_token,
    cache_bytes,
    cpu_dtype,
    cpu_environment,
    cpu_flags,
    cpu_in_flight,
    sampling_warning,
)
from pacos.serving.flags import in_flight
from pacos.serving.server import server_environment

SMOLLM2 = LlamaConfig(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3)
GIB = 2**30
VLLM_VARIABLES = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "OMP_NUM_THREADS", "TORCH_COMPILE_DISABLE")


@pytest.fixture(autouse=True)
def laptop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two cores without AMX, a compiler, 64 GiB free, and nothing set by the user."""
    for name in VLLM_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cpu_engine, "physical_cores", lambda: 2)
    monkeypatch.setattr(cpu_engine, "has_amx", lambda: False)
    monkeypatch.setattr(cpu_engine, "can_compile", lambda: True)
    free_memory(monkeypatch, 64)


def free_memory(monkeypatch: pytest.MonkeyPatch, gib: float) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(gib * GIB)))


def flags(tokens: int = 0) -> dict[str, Flag]:
    return cpu_flags(SMOLLM2, dtype="float32", context=3072, in_flight=32, workload=Workload(tokens))


def test_a_token_of_smollm2_has_45_kib_of_keys_and_values_in_float32() -> None:
    # 2 (keys, values) x 30 layers x 3 heads x 64 wide x 4 bytes
    assert bytes_per_token(SMOLLM2, "float32") == 46_080
    assert bytes_per_token(SMOLLM2, "bfloat16") == 23_040


def test_the_cache_has_room_for_32_requests_or_takes_two_fifths_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lists = Workload(answer_tokens=500)  # with prompts of 768 tokens
    assert cache_bytes(SMOLLM2, "float32", 3072, lists) == 32 * 1268 * 46_080
    assert cache_bytes(SMOLLM2, "float32", 3072, Workload()) == 32 * 3072 * 46_080, "answers as long as the context"
    free_memory(monkeypatch, 2.5)
    assert cache_bytes(SMOLLM2, "float32", 3072, lists) == GIB
    free_memory(monkeypatch, 0.1)
    assert cache_bytes(SMOLLM2, "float32", 3072, lists) == 3072 * 46_080, "one context, or vLLM does not start"


def test_fewer_requests_are_in_flight_where_the_cache_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    lists = Workload(answer_tokens=500)
    assert cpu_in_flight(SMOLLM2, "float32", 3072, lists) == 32
    free_memory(monkeypatch, 2.5)  # 1 GiB holds 23,301 tokens
    assert cpu_in_flight(SMOLLM2, "float32", 3072, lists) == 18
    free_memory(monkeypatch, 0.1)
    assert cpu_in_flight(SMOLLM2, "float32", 3072, lists) == 2


def test_auto_is_float32_without_amx_and_what_was_asked_for_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [cpu_dtype(asked) for asked in ("auto", "bfloat16", "float16")] == ["float32", "bfloat16", "float16"]
    monkeypatch.setattr(cpu_engine, "has_amx", lambda: True)
    assert cpu_dtype("auto") == "auto"


def test_the_engine_compiles_only_where_much_is_generated_and_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    amounts = (0, 50_000, COMPILE_FROM_TOKENS, 10**7)
    assert [flags(tokens)["enforce-eager"] for tokens in amounts] == [True, True, False, False]
    monkeypatch.setattr(cpu_engine, "can_compile", lambda: False)
    assert [flags(tokens)["enforce-eager"] for tokens in amounts] == [True] * 4


def test_an_engine_that_is_not_to_compile_compiles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pacos.serving.server.runs_on_cpu", lambda: True)
    for eager in (True, False):
        environment = server_environment("key", tmp_path, {"enforce-eager": eager})
        assert ("TORCH_COMPILE_DISABLE" in environment) == eager


def test_compiling_takes_a_compiler_and_the_headers_of_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", sys.executable)  # any program
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert not can_compile()
    (tmp_path / "Python.h").touch()
    assert can_compile()
    monkeypatch.setenv("CXX", str(tmp_path / "no-compiler"))
    assert not can_compile()


def test_few_cores_are_all_used_and_many_are_bound_by_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    assert str(flags()["distributed-executor-backend"]).endswith("UniProcExecutor")
    assert cpu_environment(eager=False) == {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2"}
    monkeypatch.setattr(cpu_engine, "physical_cores", lambda: 64)
    assert "distributed-executor-backend" not in flags() and cpu_environment(eager=False) == {}


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in zip(VLLM_VARIABLES, ("2", "0-1", "1", "0"), strict=True):
        monkeypatch.setenv(name, value)
    assert cpu_environment(eager=True) == {}
    assert not {"kv-cache-memory-bytes", "distributed-executor-backend"} & set(flags())


def test_cutting_a_large_vocabulary_is_warned_of() -> None:
    assert sampling_warning(49_152, top_p=1.0, top_k=0) is None
    assert sampling_warning(49_152, top_p=1.0, top_k=49_152) is None, "a cut that cuts nothing"
    assert sampling_warning(2_560, top_p=0.9, top_k=0) is None, "a small vocabulary is sorted in no time"
    assert "top_p 0.9" in str(sampling_warning(49_152, top_p=0.9, top_k=0))
    assert "top_k 50" in str(sampling_warning(49_152, top_p=1.0, top_k=50))


def test_a_number_in_the_configuration_decides_alone(tiny_base: Path) -> None:
    def requests(engine: EngineConfig) -> int:
        return in_flight(
            Config(name="x", model=ModelConfig(base=str(tiny_base)), engine=engine), str(tiny_base), Workload()
        )

    assert requests(EngineConfig(max_in_flight=7)) == 7
    assert requests(EngineConfig(url="http://127.0.0.1:9/v1")) == 64
