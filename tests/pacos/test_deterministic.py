"""`engine.deterministic`: what the server is started with, what is refused, and what the journal says of it."""

import json
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, parse_config
from pacos.errors import ConfigError, RunError
from pacos.serving import deterministic
from pacos.serving.cpu import Workload
from pacos.serving.flags import server_flags
from tests.support.generated_run import experiment, generate
from tests.support.scripted_server import ScriptedServer

SEEDED = {"temperature": 0.7, "max_tokens": 64}


def config_of(base: Path, dtype: str = "auto", **engine: Any) -> Config:
    values = {"name": "x", "model": {"base": str(base), "dtype": dtype}, "engine": {"deterministic": True, **engine}}
    return parse_config(values, where="test")


def on_gpu(monkeypatch: pytest.MonkeyPatch, capability: str) -> None:
    monkeypatch.setattr(deterministic, "runs_on_cpu", lambda: False)
    answer = subprocess.CompletedProcess([], 0, stdout=f"{capability}\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)


def test_a_cpu_server_answers_one_at_a_time_in_float32(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deterministic, "runs_on_cpu", lambda: True)
    flags = server_flags(config_of(tiny_base), str(tiny_base), [], Workload(), 32)
    assert (flags["max-num-seqs"], flags["enable-prefix-caching"], flags["dtype"]) == (1, False, "float32")
    assert deterministic.deterministic_environment(config_of(tiny_base)) == {}


@pytest.mark.parametrize(
    "settings", [{"args": {"max_num_seqs": 8}}, {"args": {"enable_prefix_caching": True}}, {"dtype": "bfloat16"}]
)
def test_what_rounds_differently_in_each_batch_is_refused_on_a_cpu(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    monkeypatch.setattr(deterministic, "runs_on_cpu", lambda: True)
    with pytest.raises(ConfigError, match="answers repeat with"):
        deterministic.deterministic_flags(config_of(tiny_base, **settings))


def test_a_gpu_server_runs_in_batch_invariant_mode(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, "9.0")
    config = config_of(tiny_base, args={"max_num_seqs": 512})
    assert deterministic.deterministic_environment(config) == {"VLLM_BATCH_INVARIANT": "1"}
    assert deterministic.deterministic_flags(config) == {}
    assert deterministic.how_answers_repeat(config) == {"answers repeat": "VLLM_BATCH_INVARIANT"}


def test_a_gpu_without_such_kernels_is_refused(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu(monkeypatch, "7.5")
    with pytest.raises(ConfigError, match=r"this one has 7\.5"):
        deterministic.deterministic_flags(config_of(tiny_base))


def test_adapters_are_not_promised_to_repeat(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    on_gpu(monkeypatch, "9.0")
    deterministic.deterministic_flags(config_of(tiny_base), adapters=1)
    assert "as LoRA are not promised to repeat" in caplog.text


def test_nothing_changes_without_it(tiny_base: Path) -> None:
    config = config_of(tiny_base, deterministic=False)
    assert deterministic.deterministic_flags(config) == {}
    assert deterministic.deterministic_environment(config) == {}
    assert deterministic.how_answers_repeat(config) == {}


def test_every_request_has_a_seed_and_the_journal_says_what_is_promised(
    tiny_base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, target=20, sampling=SEEDED)
        plain = generate(config)
        assert {body["seed"] for body in server.bodies} == {None}
        server.bodies.clear()
        engine = config.engine.model_copy(update={"deterministic": True})
        repeating = config.model_copy(update={"engine": engine, "name": "repeating", "seed": 7})
        assert generate(repeating) != plain
        assert sorted(body["seed"] for body in server.bodies)[:3] == [7, 8, 9]
        header = json.loads((repeating.run_dir / "dataset" / "journal.json").read_text(encoding="utf-8"))
        assert header["settings"]["engine.deterministic"] is True
        assert header["source"]["answers repeat"] == "not promised: engine.url"
        assert "up to the servers of engine.url" in caplog.text
        with pytest.raises(RunError, match=r"`engine\.deterministic` was true, is null"):
            generate(repeating.model_copy(update={"engine": config.engine}))
