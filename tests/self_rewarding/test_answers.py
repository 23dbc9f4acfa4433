"""`pacos answer`: a model is asked in the template that it was trained with."""

from pathlib import Path

import pytest

from pacos.config import AnswersConfig, Config, EngineConfig, ModelConfig, TrainConfig
from pacos.files import write_jsonl
from pacos.models import load_tokenizer
from pacos.runs import Run
from pacos.self_rewarding.answers import main
from tests.support.chat_adapter import OTHER, rendered, with_template, write_chat_adapter
from tests.support.scripted_server import ScriptedServer

TOKENS = 11


def experiment(base: Path, server: ScriptedServer, adapter: Path | None = None, template: str = "alpaca") -> Config:
    folder = base.parent
    write_jsonl(folder / "tasks.jsonl", [{"id": "a", "instruction": "Name it.", "input": "a ball", "output": ""}])
    path = str(adapter) if adapter else None
    return Config(
        name="run",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=EngineConfig(url=server.url),
        train=TrainConfig(template=template),
        answers=AnswersConfig(tasks=str(folder / "tasks.jsonl"), adapter=path, samples=1, max_tokens=TOKENS),
    )


def asked(config: Config, server: ScriptedServer) -> list[list[int]]:
    """The prompts that are asked for answers."""
    server.bodies.clear()
    with Run.open(config) as run:
        main(config, run)
    return [list(body["prompt"]) for body in server.bodies if body["max_tokens"] == TOKENS]


def test_an_adapter_trained_on_chats_is_asked_in_the_template_saved_with_it(base: Path, server: ScriptedServer) -> None:
    config = experiment(base, server, write_chat_adapter(base, base.parent / "adapter", OTHER))
    tokenizer = load_tokenizer(str(base), config.model)
    tokenizer.chat_template = OTHER
    assert asked(config, server) == [rendered(tokenizer, ("user", "Name it.\n\na ball"))]


def test_a_base_is_asked_in_its_own_chat_template(base: Path, server: ScriptedServer) -> None:
    config = experiment(base, server, template="chat")
    tokenizer = load_tokenizer(str(base), config.model)
    assert asked(config, server) == [rendered(tokenizer, ("user", "Name it.\n\na ball"))]


def test_another_chat_template_asks_again(base: Path, server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    config = experiment(base, server, template="chat")
    first = asked(config, server)
    assert asked(config, server) == []
    with_template(base, OTHER)
    assert [prompt != first[0] for prompt in asked(config, server)] == [True]
    assert "all is asked again; train.template changed" in caplog.text
