"""Generation that is killed, cut short, refused or changed, and started again."""

import itertools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig, load_config
from pacos.config.experiment import section_sha256
from pacos.errors import EngineError, RunError
from pacos.files import JsonlWriter
from pacos.generate import pipeline
from pacos.generate.journal import read_responses
from pacos.generate.prompting.request import RequestMaker
from pacos.records import DatasetRow, Response, read_records
from pacos.results.manifest import read_manifest
from pacos.seeds import load_seeds
from pacos.serving.connect import LENT_ENGINE
from tests.support.generated_run import derived, experiment, generate, jitter
from tests.support.killed_run import ROOT, generate_command, run_until_arrival
from tests.support.scripted_server import Prompt, ScriptedServer


@pytest.mark.parametrize(("in_flight", "kills"), [(1, [6]), (8, [5, 11])])
def test_kill_9_and_the_same_command_give_the_same_bytes(
    tmp_path: Path, tiny_base: Path, seeds: Path, in_flight: int, kills: list[int]
) -> None:
    with ScriptedServer(delay=jitter) as server:
        expected = generate(experiment(tmp_path, tiny_base, server.url, seeds, name="whole"))
        config = experiment(tmp_path, tiny_base, server.url, seeds, in_flight=in_flight)
        command = generate_command(config, tmp_path)
        answered: dict[int, Response] = {}
        for kill_at in kills:
            run_until_arrival(command, server, kill_at)
            now = read_responses(config.run_dir / "dataset" / "responses.jsonl")
            assert answered.items() <= now.items()
            answered = now
        assert answered
        before = len(server.asked)
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
        asked_again = set(server.asked[before:]) & _prompts_of(answered, config, tiny_base, server)
    assert not asked_again
    assert derived(config) == expected


def _prompts_of(answers: dict[int, Response], config: Config, base: Path, server: ScriptedServer) -> set[Prompt]:
    from pacos.models import load_tokenizer

    seeds = load_seeds(Path(str(config.generate.seeds)))
    maker = RequestMaker(config, seeds, load_tokenizer(str(base), config.model), server.max_model_len)
    return {tuple(maker.make(request).prompt_ids) for request in answers}


def test_a_torn_journal_line_is_asked_again(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        expected = generate(experiment(tmp_path, tiny_base, server.url, seeds, name="whole"))
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=40))
        journal = config.run_dir / "dataset" / "responses.jsonl"
        journal.write_bytes(journal.read_bytes()[:-20])
        assert generate(config) == expected


class FullDisk:
    """A file on a disk with `room` bytes left: it takes what fits, then fails as the kernel does."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: memoryview) -> int:
        if self.room <= 0:
            raise OSError(28, os.strerror(28))
        taken = int(self.file.write(data[: self.room]))
        self.room -= taken
        return taken

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("name", ["responses.jsonl", "dataset.jsonl", "rejected.jsonl"])
def test_a_full_disk_is_reported_and_loses_no_answer(
    tmp_path: Path, tiny_base: Path, seeds: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = JsonlWriter.__init__

    def on_full_disk(writer: JsonlWriter, path: Path) -> None:
        plain(writer, path)
        if path.name == name:
            writer._file = FullDisk(writer._file, 2000)  # type: ignore[assignment]

    with ScriptedServer(delay=jitter) as server:
        expected = generate(experiment(tmp_path, tiny_base, server.url, seeds, name="whole"))
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        with monkeypatch.context() as patch, pytest.raises(RunError, match=rf"{name}: the disk is full") as failure:
            patch.setattr(JsonlWriter, "__init__", on_full_disk)
            generate(config)
        assert "make space" in str(failure.value)
        assert read_manifest(config.run_dir).stages["generate"].status == "failed"
        assert generate(config) == expected


def test_answers_that_came_are_kept_when_another_request_fails(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(status=lambda arrival: 400 if arrival == 9 else 200, delay=jitter) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        with pytest.raises(EngineError, match="scripted failure 400"):
            generate(config)
        assert read_responses(config.run_dir / "dataset" / "responses.jsonl")
        server.status = lambda arrival: 200
        whole = generate(config)
        assert whole == generate(experiment(tmp_path, tiny_base, server.url, seeds, name="whole"))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"sampling": {"temperature": 0.7}}, "`generate.sampling.temperature` was 1.0, is 0.7"),
        ({"tasks_per_request": 10}, "`generate.tasks_per_request` was 20, is 10"),
        ({"preset": "alpaca-original"}, "`generate.preset`"),
        ({"forbid_eos": True}, "`generate.forbid_eos` was null, is true"),
    ],
)
def test_answers_to_other_settings_are_refused_by_the_changed_key(
    tmp_path: Path, tiny_base: Path, seeds: Path, change: dict[str, Any], named: str
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        before = generate(config)
        with pytest.raises(RunError, match=named) as failure:
            generate(experiment(tmp_path, tiny_base, server.url, seeds, **change))
    assert "another `name`" in str(failure.value)
    assert derived(config) == before


def test_a_dataset_that_an_earlier_version_finished_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the hash in its manifest: keys that its configuration lacks do not count until they are set."""
    monkeypatch.chdir(ROOT / "tests" / "data" / "earlier_run")
    config = load_config(Path("experiment.yaml"), [])
    recorded = read_manifest(Path("experiments/earlier")).stages["generate"].config_sha256
    assert section_sha256(*pipeline.decisions(config)) == recorded
    with_eos = config.generate.model_copy(update={"forbid_eos": True})
    assert section_sha256(*pipeline.decisions(config.model_copy(update={"generate": with_eos}))) != recorded


def test_a_stricter_filter_is_applied_to_the_same_answers(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=60))
        stricter = experiment(tmp_path, tiny_base, server.url, seeds, target=20, filters={"novelty": 0.5})
        asked = len(server.asked)
        generate(stricter)
        assert len(server.asked) - asked < asked
    rows = read_records(stricter.run_dir / "dataset" / "dataset.jsonl", DatasetRow)
    assert max(row.nearest_rougeL for row in rows) <= 0.5


def test_a_changed_prompt_is_noticed_answer_by_answer(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        before = generate(config)
        folder = config.run_dir / "dataset"
        (folder / "journal.json").unlink()
        journal = folder / "responses.jsonl"
        changed = journal.read_text(encoding="utf-8").replace('"prompt_sha256": "', '"prompt_sha256": "0')
        journal.write_text(changed, encoding="utf-8")
        with pytest.raises(RunError, match=r"the answer to request \d+ belongs to another prompt"):
            generate(config)
    assert journal.read_text(encoding="utf-8") == changed
    assert derived(config) == before


def other_weights(base: Path, folder: Path, *, scale: float) -> Path:
    """A copy of a model whose weights are multiplied."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(base, folder, dirs_exist_ok=True)
    weights = load_file(base / "model.safetensors")
    save_file(
        {name: scale * weight for name, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder


class OurServer(ScriptedServer):
    """Stands for the server that pacos starts for the model: it is lent by the environment."""

    def lend(self, model: Path, patch: pytest.MonkeyPatch) -> None:
        patch.setenv(LENT_ENGINE, json.dumps({"model": str(model), "url": self.url, "key": "k"}))


def test_other_weights_under_the_same_path_are_refused_and_nothing_is_changed(
    tmp_path: Path, tiny_base: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = other_weights(tiny_base, tmp_path / "base", scale=1)
    with OurServer() as server:
        server.lend(base, monkeypatch)
        config = experiment(tmp_path, base, server.url, seeds)
        config = config.model_copy(update={"engine": EngineConfig(max_in_flight=8)})
        small = config.model_copy(update={"generate": config.generate.model_copy(update={"target": 20})})
        generate(small)
        folder = config.run_dir / "dataset"
        other_weights(tiny_base, base, scale=2)
        before = {path: path.read_bytes() for path in [*folder.iterdir(), config.run_dir / "manifest.json"]}
        for again in (small, config):  # done already, and to be continued
            with pytest.raises(RunError, match=r"another model's[^\n]*sha256 of the weights was") as refusal:
                generate(again)
            assert "another `name`" in str(refusal.value)
        assert {path: path.read_bytes() for path in before} == before
        other_weights(tiny_base, base, scale=1)
        generate(config)


def test_another_model_behind_the_same_address_is_refused(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=20))
    with ScriptedServer(model="another") as server:
        with pytest.raises(RunError, match='served model was "scripted", is "another"'):
            generate(experiment(tmp_path, tiny_base, server.url, seeds))
        assert not server.asked


def test_a_journal_of_an_earlier_version_takes_any_model(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=20)
        generate(config)
        companion = config.run_dir / "dataset" / "journal.json"
        values = json.loads(companion.read_text(encoding="utf-8"))
        assert values.pop("source") == {"the served model": "scripted"}
        companion.write_text(json.dumps(values), encoding="utf-8")
        generate(experiment(tmp_path, tiny_base, server.url, seeds))
    assert json.loads(companion.read_text(encoding="utf-8"))["source"] == {"the served model": "scripted"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"choices": [{"text": None, "finish_reason": "stop"}]},
        {"choices": [{"text": "x", "finish_reason": 3}]},
        {"usage": {"prompt_tokens": 3, "completion_tokens": -1}},
    ],
    ids=str,
)
def test_a_wrong_reply_never_reaches_the_journal(
    tmp_path: Path, tiny_base: Path, seeds: Path, wrong: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=20)
        right, arrivals = server.complete, itertools.count(1)

        def complete(body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            status, answer = right(body)
            return status, answer | (wrong if next(arrivals) == 3 else {})

        with monkeypatch.context() as patch, pytest.raises(EngineError):
            patch.setattr(server, "complete", complete)
            generate(config)
        journal = read_responses(config.run_dir / "dataset" / "responses.jsonl")
        assert all(answer.completion_tokens >= 0 for answer in journal.everything())
        assert generate(config)
