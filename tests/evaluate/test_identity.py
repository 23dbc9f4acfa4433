"""Answers are kept only where base, adapter and settings are what they were: a scripted server counts what is asked."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pacos.config import Config, EngineConfig, SuiteConfig
from pacos.evaluate.evaluation import keep_answers, read_evaluation, write_evaluation
from pacos.files import file_sha256
from tests.support import evaluation_folder
from tests.support.evaluated_run import evaluate, experiment
from tests.support.scripted_server import ScriptedServer
from tests.support.superni_folder import instances, write_superni
from tests.support.tiny_llama import build_tiny_llama, write_adapter

ANSWER_TOKENS = 9  # the adapter check asks for other numbers of tokens


@pytest.fixture
def config(tiny_base: Path, tmp_path: Path, server: ScriptedServer) -> Config:
    """One suite of three instances, the base and one adapter; base and adapter are copies to be changed."""
    base = shutil.copytree(tiny_base, tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter", 0.3, 1)
    suite = write_superni(tmp_path / "superni", {"task1_a": {"Instances": instances("a", 3)}})
    suites = [SuiteConfig(name="superni", path=str(suite), max_tokens=ANSWER_TOKENS)]
    return experiment(base, EngineConfig(url=server.url), tmp_path, suites, other=adapter)


def asked(config: Config, server: ScriptedServer) -> list[str]:
    """The models that an evaluation asks, one name for each answer."""
    server.bodies.clear()
    evaluate(config)
    return sorted(body["model"] for body in server.bodies if body["max_tokens"] == ANSWER_TOKENS)


def edit_alpha(config: Config) -> None:
    path = Path(str(config.evaluate.models[0].adapter)) / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(settings | {"lora_alpha": 64}), encoding="utf-8")


def test_an_edited_lora_alpha_asks_that_adapter_again_and_says_why(
    config: Config, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    first = asked(config, server)
    assert len(first) == 6 and first[:3] != first[3:]
    assert asked(config, server) == []
    edit_alpha(config)
    again = asked(config, server)
    assert len(again) == 3 and len(set(again)) == 1 and "scripted" not in again
    assert "asked again, not as it was: the adapter, its weights or its adapter_config.json" in caplog.text
    folder = config.run_dir / "eval"
    assert (folder / "other" / "superseded-1.jsonl").is_file() and not (folder / "base" / "superseded-1.jsonl").exists()


def test_a_server_of_another_model_is_said_before_anything_is_asked(
    config: Config, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[bool] = []
    server.on_arrival = lambda arrival: said.append(
        f"serves scripted, and the experiment names {config.model.base}" in caplog.text
    )
    assert asked(config, server)
    assert said and all(said)


def test_other_weights_under_the_bases_path_ask_all_again_and_say_why(
    config: Config, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked(config, server)
    build_tiny_llama(Path(config.model.base), seed=9)
    assert len(asked(config, server)) == 6
    assert caplog.text.count("asked again, not as it was: the weights of the base, under the same name or path") == 2


def test_answers_of_an_earlier_version_that_knew_the_weights_alone_are_kept_once(
    config: Config, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked(config, server)
    folder = config.run_dir / "eval" / "other"
    record = read_evaluation(folder)
    assert record
    weights = file_sha256(Path(record.settings.adapter) / "adapter_model.safetensors")
    write_evaluation(folder, replace(record, settings=replace(record.settings, adapter_sha256=weights)))
    (config.run_dir / "manifest.json").write_text('{"name": "run"}', encoding="utf-8")
    assert asked(config, server) == []
    assert "it did not record adapter_config.json" in caplog.text
    assert read_evaluation(folder) == record
    edit_alpha(config)
    assert len(asked(config, server)) == 3


def test_answers_without_a_record_of_what_answered_are_set_aside(
    config: Config, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    asked(config, server)
    (config.run_dir / "eval" / "other" / "evaluation.json").unlink()
    (config.run_dir / "eval" / "other" / "scores.json").unlink()
    assert len(asked(config, server)) == 3
    assert "no evaluation.json says what answered" in caplog.text


def test_every_change_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = evaluation_folder.write_evaluation(tmp_path / "m", "m", {"t": [("red", "red")]})
    record = read_evaluation(folder)
    assert record
    assert not keep_answers(folder, replace(record.settings, max_tokens=7, postprocess="first-line"))
    assert "`max_tokens` was 128, is 7; `postprocess` was 'none', is 'first-line'" in caplog.text


def test_what_is_set_aside_never_replaces_what_was(tmp_path: Path) -> None:
    folder = evaluation_folder.write_evaluation(tmp_path / "m", "m", {"t": [("red", "red")]})
    record = read_evaluation(folder)
    assert record
    # The first was taken away by hand: counting the files there would give the name of the second again.
    (folder / "superseded-2.jsonl").write_text("{}\n", encoding="utf-8")
    assert not keep_answers(folder, replace(record.settings, max_tokens=7))
    assert (folder / "superseded-2.jsonl").read_text(encoding="utf-8") == "{}\n"
    assert [path.name for path in sorted(folder.glob("superseded-*"))] == ["superseded-2.jsonl", "superseded-3.jsonl"]
