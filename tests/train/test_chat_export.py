"""An adapter trained on conversations: what lies beside it, and that others ask it as it was trained."""

import hashlib
import json
from pathlib import Path

import pytest

from pacos.asked_chat import asked_tokenizer
from pacos.chat import ChatEncoder
from pacos.chat_templates import training_tokenizer
from pacos.config import Config, SuiteConfig
from pacos.conversations import Message
from pacos.evaluate.models import models_under_evaluation
from pacos.evaluate.prompts import fit_prompts, suite_encoding
from pacos.files import write_jsonl
from pacos.models import load_tokenizer
from pacos.serving.merged import PROBES, probe_prompts
from pacos.superni.tasks import Instance
from pacos.train.data.sources import read_training_rows
from pacos.train.export.probe import asked_of
from pacos.train.interfaces import method_of
from tests.support.chat_adapter import OWN, rendered
from tests.support.small_training import train_here, training_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> Config:
    """A run on twelve conversations, in a template that the base does not have."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "own.jinja").write_text(OWN, encoding="utf-8")
    turns = [("user", "Name the colour.\n\na red ball"), ("assistant", "red"), ("user", "And?"), ("assistant", "round")]
    messages = [{"role": role, "content": text} for role, text in turns]
    write_jsonl(folder / "chats.jsonl", [{"messages": messages}] * 12)
    config = training_config(
        folder, tiny_base, folder / "chats.jsonl", "fruit", template="chat", chat_template=str(folder / "own.jinja")
    )
    train_here(config)
    return config


def test_tokenizer_template_and_their_hash_lie_beside_the_weights(trained: Config) -> None:
    folder = trained.run_dir / "train" / "adapter"
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == OWN
    assert (
        load_tokenizer(str(trained.student), trained.model).get_vocab()
        == (json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    )
    origin = json.loads((folder / "pacos.json").read_text(encoding="utf-8"))
    assert (origin["template"], origin["template_sha256"]) == ("chat", hashlib.sha256(OWN.encode()).hexdigest())


def test_the_command_that_serves_it_names_its_template(trained: Config) -> None:
    folder = trained.run_dir / "train" / "adapter"
    command = method_of(trained.train).serve_command(trained, folder)
    assert f" --chat-template {folder / 'chat_template.jinja'} --lora-modules fruit={folder}" in command


def test_its_card_tells_of_conversations(trained: Config) -> None:
    card = (trained.run_dir / "train" / "adapter" / "README.md").read_text(encoding="utf-8")
    assert "Template chat" in card and "Conversations in the chat template" in card
    assert "every answer of a conversation" in card and "{instruction}" not in card


def test_evaluation_and_merging_ask_it_in_the_ids_that_it_was_trained_in(trained: Config) -> None:
    folder = trained.run_dir / "train" / "adapter"
    [_, tuned] = models_under_evaluation(trained, folder)
    tokenizer = asked_tokenizer(load_tokenizer(str(trained.student), trained.model), tuned.model.adapter)
    trained_on = [Message("user", "Name the colour.\n\na red ball"), Message("assistant", "red")]
    [[turn]] = ChatEncoder(tokenizer).turns([("row", trained_on)])
    instance = Instance("task1_a", "1", "c", "Name the colour.", "a red ball", ("red",))
    suite = SuiteConfig(name="superni", path="x", prompt="chat")
    [prompt] = fit_prompts(tokenizer, suite_encoding(suite), [instance], room=500)
    assert prompt.ids == turn.prompt == rendered(tokenizer, ("user", "Name the colour.\n\na red ball"))
    base = load_tokenizer(str(trained.student), trained.model)
    assert probe_prompts(base, folder) == [rendered(tokenizer, ("user", text)) for text in PROBES]


def test_the_stop_probe_asks_for_the_first_answers_of_conversations(trained: Config) -> None:
    tokenizer = training_tokenizer(trained)
    expected = rendered(tokenizer, ("user", "Name the colour.\n\na red ball"))
    assert asked_of(read_training_rows(trained), tokenizer, trained).prompts == [expected] * 12
