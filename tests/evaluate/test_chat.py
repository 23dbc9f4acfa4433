"""Suites of prompt chat: each model is asked in its own chat template, and what was asked is recorded and compared."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from pacos.config import Config, EngineConfig, ModelConfig, SuiteConfig
from pacos.errors import ConfigError, DataError, ModelError
from pacos.evaluate.compare import compare
from pacos.evaluate.evaluation import read_evaluation
from pacos.evaluate.models import models_under_evaluation, template_mismatches
from pacos.evaluate.pipeline import plan
from pacos.evaluate.prompts import CUT, fit_prompts, suite_encoding
from pacos.models import load_tokenizer
from pacos.results.evaluation import EvaluationSettings
from pacos.superni.tasks import Demonstration, Instance
from pacos.templates import ALPACA
from tests.support import evaluated_run
from tests.support.chat_adapter import OTHER, OWN, rendered, with_template, write_chat_adapter
from tests.support.chat_templates import CHAT_KINDS, chat_tokenizer
from tests.support.evaluated_run import evaluate
from tests.support.scripted_server import ScriptedServer
from tests.support.superni_folder import instances, write_superni
from tests.support.tiny_llama import write_adapter

ANSWER_TOKENS = 13
SHOWN = (Demonstration("one", "1"), Demonstration("two", "2"))
INSTANCE = Instance("task1_a", "1", "c", "Name the colour.", "a red ball", ("red",), SHOWN)
ASKED = "Name the colour.\n\na red ball"
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system text') }}{% endif %}" + OWN


def chat_suite(path: Path | str = "x", **keys: Any) -> SuiteConfig:
    return SuiteConfig(name="superni", path=str(path), prompt="chat", max_tokens=ANSWER_TOKENS, **keys)


@pytest.mark.parametrize("kind", CHAT_KINDS)
def test_prompts_have_the_ids_of_the_models_own_template(kind: str) -> None:
    tokenizer = chat_tokenizer(kind)
    [prompt] = fit_prompts(tokenizer, suite_encoding(chat_suite()), [INSTANCE], room=500)
    assert prompt.ids == rendered(tokenizer, ("user", ASKED))


@pytest.mark.parametrize("kind", [name for name, kind in CHAT_KINDS.items() if kind.system])
def test_a_system_text_and_demonstrations_are_part_of_the_chat(kind: str) -> None:
    tokenizer = chat_tokenizer(kind)
    encoding = suite_encoding(chat_suite(system="Be brief.", demonstrations=2))
    [prompt] = fit_prompts(tokenizer, encoding, [INSTANCE], room=900)
    turn = "Name the colour.\n\nInput: one\nOutput: 1\n\nInput: two\nOutput: 2\n\nInput: a red ball\nOutput:"
    assert prompt.ids == rendered(tokenizer, ("system", "Be brief."), ("user", turn))


def test_a_long_chat_loses_demonstrations_then_its_middle_and_never_what_asks() -> None:
    tokenizer = chat_tokenizer("llama-3")
    encoding = suite_encoding(chat_suite(demonstrations=2))
    asks = tokenizer(CHAT_KINDS["llama-3"].asks, add_special_tokens=False)["input_ids"]
    whole = fit_prompts(tokenizer, encoding, [INSTANCE], room=900)[0]
    [fewer] = fit_prompts(tokenizer, encoding, [INSTANCE], room=len(whole.ids) - 1)
    assert (fewer.dropped, fewer.truncated) == (1, False)
    long = Instance("task1_a", "1", "c", "Name it.", " ".join(f"w{i}" for i in range(500)), ("w",))
    [cut] = fit_prompts(tokenizer, encoding, [long], room=300)
    assert cut.truncated and CUT in cut.text and len(cut.ids) <= 300
    assert all(prompt.ids[-len(asks) :] == asks for prompt in (whole, fewer, cut))


def test_system_text_and_demonstrations_are_for_chats_alone() -> None:
    with pytest.raises(ValidationError, match="those of prompt chat"):
        SuiteConfig(name="superni", path="x", prompt="alpaca", system="Be brief.")
    with pytest.raises(ValidationError, match="those of prompt chat"):
        SuiteConfig(name="superni", path="x", prompt="tk-instruct:def", demonstrations=2)
    assert chat_suite(system="You answer in one line. " * 200).system


def experiment(base: Path, server: ScriptedServer, folder: Path, **keys: Any) -> Config:
    """One suite of three instances; two adapters, of which `other` has a chat template of its own."""
    suite = write_superni(folder / "superni", {"task1_a": {"Instances": instances("a", 3)}})
    plain = write_adapter(base, folder / "plain", 0.3, 1)
    other = with_template(write_adapter(base, folder / "other", 0.3, 2), OTHER)
    suites, engine = [chat_suite(suite, **keys)], EngineConfig(url=server.url)
    return evaluated_run.experiment(base, engine, folder, suites, plain=plain, other=other)


def settings(folder: Path) -> EvaluationSettings:
    record = read_evaluation(folder)
    assert record
    return record.settings


def answers_asked(server: ScriptedServer) -> dict[str, list[list[int]]]:
    """The prompts of the suite by the model that was asked."""
    found: dict[str, list[list[int]]] = {}
    for body in server.bodies:
        if body["max_tokens"] == ANSWER_TOKENS:
            found.setdefault(body["model"], []).append(list(body["prompt"]))
    return found


def test_base_and_adapters_are_each_asked_in_their_own_template(
    base: Path, server: ScriptedServer, tmp_path: Path
) -> None:
    config = experiment(base, server, tmp_path, system="Be brief.")
    folder = evaluate(config)
    tokenizer = load_tokenizer(str(base), config.model)
    turns = [f"Name the colour in the text\n\nBall {i} is {c}." for i, c in enumerate(("red", "green", "blue"))]
    expected = {}
    for template in (OWN, OTHER):
        tokenizer.chat_template = template
        expected[template] = [rendered(tokenizer, ("system", "Be brief."), ("user", turn)) for turn in turns]
    asked = answers_asked(server)
    of_each = sorted(sorted(prompts) for prompts in asked.values())
    assert of_each == sorted(sorted(expected[template]) for template in (OWN, OWN, OTHER))
    assert sorted(asked["scripted"]) == sorted(expected[OWN])
    comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in comparison["contestants"]] == ["plain", "other", "copy-input"]
    [caution] = comparison["cautions"]
    assert "`chat_template_sha256`" in caution and "base" in caution and "other" in caution


def test_what_was_asked_is_recorded_and_hashed(base: Path, server: ScriptedServer, tmp_path: Path) -> None:
    folder = evaluate(experiment(base, server, tmp_path, system="Be brief."))
    prompt = json.loads((folder / "base" / "scores.json").read_text(encoding="utf-8"))["prompt"]
    assert (prompt["preset"], prompt["system"], prompt["demonstrations"]) == ("chat", "Be brief.", 0)
    own, plain, other = (settings(folder / name) for name in ("base", "plain", "other"))
    assert own.prompt_sha256 == plain.prompt_sha256 != other.prompt_sha256
    assert own.chat_template_sha256 == plain.chat_template_sha256 != other.chat_template_sha256


def test_another_system_text_or_template_asks_again_and_says_why(
    base: Path, server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = experiment(base, server, tmp_path)
    evaluate(config)
    server.bodies.clear()
    evaluate(config)
    assert answers_asked(server) == {}
    with_template(base, OWN.replace("<assistant>", "<a>"))
    evaluate(config)
    assert {len(prompts) for prompts in answers_asked(server).values()} == {3} and len(answers_asked(server)) == 2
    assert "asked again, not as it was" in caplog.text and "the model's chat template" in caplog.text
    suites = [config.evaluate.suites[0].model_copy(update={"system": "Be brief."})]
    server.bodies.clear()
    evaluate(config.model_copy(update={"evaluate": config.evaluate.model_copy(update={"suites": suites})}))
    assert len(answers_asked(server)) == 3 and "`system` was '', is 'Be brief.'" in caplog.text


def test_other_system_texts_are_not_compared(base: Path, server: ScriptedServer, tmp_path: Path) -> None:
    one = evaluate(experiment(base, server, tmp_path / "one"))
    two = evaluate(experiment(base, server, tmp_path / "two", system="Be brief."))
    with pytest.raises(DataError, match=r"`system` is '' for base and 'Be brief.' for plain"):
        compare([one / "base", two / "plain"], tmp_path / "out")


def test_a_base_without_a_template_is_refused_before_anything_is_asked_and_told_the_way_out(
    tiny_base: Path, server: ScriptedServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = experiment(tiny_base, server, tmp_path)
    with pytest.raises(ModelError, match="base has no chat template") as failure:
        evaluate(config)
    assert "evaluate.chat_template" in str(failure.value) and not server.bodies
    with pytest.raises(ModelError, match="base has no chat template"):
        plan(config)
    section = config.evaluate.model_copy(update={"chat_template": "plain"})
    evaluate(config.model_copy(update={"evaluate": section}))
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    assert "base has no chat template, and is asked in the one that the configuration names" in caplog.text
    assert "User: Name the colour" in tokenizer.decode(answers_asked(server)["scripted"][0])


def test_a_template_that_refuses_the_system_text_names_the_model(
    base: Path, server: ScriptedServer, tmp_path: Path
) -> None:
    with_template(base, NO_SYSTEM)
    with pytest.raises(ModelError, match="no system text") as failure:
        evaluate(experiment(base, server, tmp_path, system="Be brief."))
    assert str(failure.value).startswith(f"base ({base})") and not server.bodies


def test_demonstrations_of_a_suite_without_any_are_refused(base: Path, server: ScriptedServer, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no task of superni has demonstrations"):
        evaluate(experiment(base, server, tmp_path, demonstrations=2))


def test_answers_end_at_the_templates_own_end_of_turn(tiny_base: Path, server: ScriptedServer, tmp_path: Path) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end>"]})
    tokenizer.chat_template = OWN.replace("{{ eos_token }}", "<end>")
    tokenizer.save_pretrained(base)
    evaluate(experiment(base, server, tmp_path))
    asked = [body for body in server.bodies if body["max_tokens"] == ANSWER_TOKENS and body["model"] == "scripted"]
    end = tokenizer.convert_tokens_to_ids("<end>")
    assert [body["stop_token_ids"] for body in asked] == [[end]] * 3


def test_a_chat_template_that_is_not_the_trained_one_is_refused(
    base: Path, server: ScriptedServer, tmp_path: Path
) -> None:
    config = experiment(base, server, tmp_path)
    assert models_under_evaluation(config, write_chat_adapter(base, tmp_path / "a", OTHER))[1].model.template == "chat"
    with pytest.raises(ModelError, match="not the one that they were trained with"):
        models_under_evaluation(config, write_chat_adapter(base, tmp_path / "b", OWN, trained_in=OTHER))
    (tmp_path / "a" / "chat_template.jinja").unlink()
    with pytest.raises(ModelError, match="has none beside the weights"):
        models_under_evaluation(config, tmp_path / "a")


def test_a_model_asked_in_another_form_than_it_was_trained_in_is_told(
    base: Path, server: ScriptedServer, tmp_path: Path
) -> None:
    config = experiment(base, server, tmp_path)
    models = models_under_evaluation(config, write_chat_adapter(base, tmp_path / "a", OTHER))
    assert template_mismatches(models, ["chat"]) == []
    assert template_mismatches(models, ["alpaca"]) == [
        "tuned was trained with the template chat, and is asked with the prompt alpaca"
    ]
    adapter = with_template(write_adapter(base, tmp_path / "b", 0.3, 3), ALPACA.chat_template)
    trained = {"base": str(base), "base_sha256": "", "template": "alpaca", "template_sha256": ALPACA.sha256}
    (adapter / "pacos.json").write_text(json.dumps(trained), encoding="utf-8")
    assert template_mismatches(models_under_evaluation(config, adapter), ["chat"]) == [
        "tuned was trained with the template alpaca, and is asked with the prompt chat: in alpaca's form without an "
        "input, its instruction being the user's turn"
    ]
