"""Prompts of at most `max_source_tokens`: Tk-Instruct's 1,024 unless another number is given."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pacos.config import Config, EngineConfig, SuiteConfig, load_config
from pacos.errors import DataError
from pacos.evaluate.compare import compare
from pacos.evaluate.evaluation import keep_answers, read_evaluation, write_evaluation
from pacos.evaluate.pipeline import plan
from pacos.extensions import PROMPTS
from pacos.models import load_tokenizer
from pacos.records import Prediction, read_records
from pacos.superni.prompts import prompt_preset
from pacos.superni.suites import read_suite
from pacos.tokenization import encode_prompts
from tests.support import evaluated_run, evaluation_folder
from tests.support.evaluated_run import evaluate
from tests.support.scripted_server import ScriptedServer
from tests.support.superni_folder import write_superni

ROOT = Path(__file__).resolve().parents[2]
LONG, SHORT = " ".join(f"word{at}" for at in range(330)), "word"


def suite(folder: Path) -> Path:
    """Two tasks with two demonstrations each; the second's first demonstration is long, and the first's both short."""
    examples = {
        "task1_short": [{"input": SHORT, "output": "a"}, {"input": SHORT, "output": "b"}],
        "task2_long": [{"input": SHORT, "output": "a"}, {"input": LONG, "output": "b"}],
    }
    return write_superni(folder, {name: {"Positive Examples": shown} for name, shown in examples.items()})


def experiment(base: Path, folder: Path, server: ScriptedServer, **of_suite: object) -> Config:
    suites = [SuiteConfig.model_validate({"name": "s", "path": str(suite(folder / "superni")), **of_suite})]
    return evaluated_run.experiment(base, EngineConfig(url=server.url), folder, suites)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_the_published_limit_is_that_of_tk_instruct(prompt: str) -> None:
    config = SuiteConfig(name="s", path="there", prompt=prompt)
    published = 1024 if prompt.startswith("tk-instruct:") else 0
    assert config.source_tokens == prompt_preset(prompt).source_tokens == published
    assert config.prompt_room(8192) == (published or 8192 - config.answer_tokens)
    # A context of 1,100 tokens leaves less beside an answer of 128.
    assert SuiteConfig(name="s", path="there", prompt=prompt, max_tokens=128).prompt_room(1100) == 972
    assert SuiteConfig(name="s", path="there", prompt=prompt, max_source_tokens=300).prompt_room(8192) == 300


def test_demonstrations_are_dropped_at_the_published_limit_and_counted(tiny_base: Path, tmp_path: Path) -> None:
    """As ni_collator.py: a prompt over 1,024 tokens loses its last demonstrations, though the context has room."""
    prompt = "tk-instruct:def+pos2"
    with ScriptedServer(answer=lambda ids, seed: ("red", "stop")) as server:
        config = experiment(tiny_base, tmp_path, server, prompt=prompt)
        instances = read_suite(tmp_path / "superni").instances
        tokenizer = load_tokenizer(str(tiny_base), config.model)
        whole = encode_prompts(tokenizer, [prompt_preset(prompt).render(one) for one in instances])
        assert [len(ids) > 1024 for ids in whole] == [False] * 3 + [True] * 3 and max(map(len, whole)) < 3900
        [line] = [line for line in plan(config) if "max_source_tokens" in line]
        assert line.endswith("; 3 prompts are shortened to max_source_tokens, 1024")
        evaluate(config)
        asked = sorted(len(ids) for ids in server.asked)
    recorded = json.loads((config.run_dir / "eval" / "base" / "scores.json").read_text(encoding="utf-8"))["prompt"]
    assert (recorded["max_source_tokens"], recorded["fewer_demonstrations"], recorded["truncated"]) == (1024, 3, 0)
    assert asked[-1] <= 1024


def test_another_limit_asks_the_prompts_again_that_it_changes(tiny_base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "run" / "eval" / "base"
    asked = []
    with ScriptedServer(answer=lambda ids, seed: ("red", "stop")) as server:
        for limit in (1024, 3000):
            config = experiment(tiny_base, tmp_path, server, prompt="tk-instruct:def+pos2", max_source_tokens=limit)
            server.asked.clear()
            evaluate(config)
            asked.append(len(server.asked))
    assert asked == [6, 3]
    assert len(read_records(folder / "predictions.jsonl", Prediction)) == 6
    recorded = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["prompt"]
    assert (recorded["max_source_tokens"], recorded["fewer_demonstrations"]) == (3000, 0)


def test_a_finished_evaluation_of_an_earlier_version_stays_and_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = evaluation_folder.write_evaluation(tmp_path, "m", {"t": [("red", "red")]}, prompt="tk-instruct:def")
    record = read_evaluation(folder)
    assert record and record.settings.max_source_tokens is None
    assert keep_answers(folder, replace(record.settings, max_source_tokens=0)) and not caplog.records
    assert keep_answers(folder, replace(record.settings, max_source_tokens=1024))
    assert (folder / "scores.json").is_file() and not list(folder.glob("superseded-*"))
    assert "where a prompt was over 1024 tokens, no demonstrations were dropped" in caplog.text


def test_evaluations_with_different_limits_are_not_compared(tmp_path: Path) -> None:
    folders = []
    for limit in (1024, 3000):
        folders.append(evaluation_folder.write_evaluation(tmp_path / str(limit), str(limit), {"t": [("red", "red")]}))
        record = read_evaluation(folders[-1])
        assert record
        write_evaluation(folders[-1], replace(record, settings=replace(record.settings, max_source_tokens=limit)))
    with pytest.raises(DataError, match="`max_source_tokens` is 1024 for 1024 and 3000 for 3000"):
        compare(folders, tmp_path)


def test_the_published_run_and_the_papers_table_have_one_protocol() -> None:
    """Self-Instruct, section 4.3: the definition alone, greedy, 1,024 tokens, no stop strings, nothing cut."""
    [of_run] = load_config(ROOT / "configs" / "self-instruct-7b-lora.yaml", []).evaluate.suites
    script = (ROOT / "scripts" / "self-instruct-table").read_text(encoding="utf-8")
    override = next(line for line in script.splitlines() if "evaluate.suites=" in line).strip(' "\\$@')
    table = override.replace("$superni", of_run.path).removesuffix('" ')
    [of_table] = load_config(ROOT / "configs" / "self-instruct-7b-lora.yaml", [table]).evaluate.suites
    assert of_run == of_table
    assert (of_run.prompt, of_run.answer_tokens, of_run.postprocess) == ("self-instruct", 1024, "none")
