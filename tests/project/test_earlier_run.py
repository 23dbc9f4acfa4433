"""A run directory written by an earlier version is scored, compared, reported and resumed by this one.

`tests/data/earlier_run/README.md` says which version wrote it, and what `expected/` holds.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer
from typer.testing import CliRunner

from pacos.adapters import adapter_sha256
from pacos.cli.commands import app
from tests.support.scripted_server import Prompt, ScriptedServer, list_answer

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data" / "earlier_run"
RUN = Path("experiments/earlier")
BASE, HALFWAY = (RUN / "eval" / f"{model}--colours--alpaca" for model in ("base", "halfway"))
ANSWER_TOKENS = 24
IN_FLIGHT = 4

same_base = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the base's random weights are others on another kind of processor"
)


class Model(ScriptedServer):
    """Gives the answers that the earlier run got: lists of tasks, and colours, which its adapter names tersely."""

    def __init__(self, base: Path) -> None:
        super().__init__(answer=self.reply)
        self.tokenizer = AutoTokenizer.from_pretrained(base)

    def read(self, prompt: Prompt) -> str:
        return str(self.tokenizer.decode(list(prompt), skip_special_tokens=True))

    def reply(self, prompt: Prompt, seed: int | None) -> tuple[str, str]:
        text = self.read(prompt)
        if "List of" in text:
            return list_answer(prompt, seed)
        colour = next((colour for colour in ("red", "green", "blue") if colour in text), "grey")
        return (colour if hashlib.sha256(text.encode()).digest()[0] % 4 else f"I think it is {colour}"), "stop"

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status, answer = super().complete(body)
        if body["model"] == "scripted" and "List of" not in self.read(tuple(body["prompt"])):
            answer["choices"][0]["text"] = "The answer is: " + answer["choices"][0]["text"]
        return status, answer


@pytest.fixture
def earlier(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the earlier run, copied, with its base in place."""
    folder = tmp_path / "earlier"
    shutil.copytree(DATA, folder)
    (folder / "base").symlink_to(tiny_base)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return folder


def pacos(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def expected(name: str) -> Any:
    return read(DATA / "expected" / name)


def assert_keeps(now: Any, earlier: Any, where: str = "") -> None:
    """Every key that the earlier value has, with the same type and value; there may be more keys."""
    if isinstance(earlier, dict):
        assert isinstance(now, dict), where
        assert not earlier.keys() - now.keys(), f"{where} lacks {sorted(earlier.keys() - now.keys())}"
        for key, value in earlier.items():
            assert_keeps(now[key], value, f"{where}.{key}")
    elif isinstance(earlier, list):
        assert isinstance(now, list) and len(now) == len(earlier), where
        for index, (one, other) in enumerate(zip(now, earlier, strict=True)):
            assert_keeps(one, other, f"{where}[{index}]")
    else:
        assert type(now) is type(earlier), where
        assert now == (pytest.approx(earlier, rel=1e-6) if isinstance(earlier, float) else earlier), where


@pytest.mark.parametrize("folder", [BASE, HALFWAY], ids=["base", "adapter"])
def test_its_predictions_have_the_same_scores(earlier: Path, folder: Path) -> None:
    pacos("score", folder / "predictions.jsonl", "--json", "scores.json")
    assert_keeps(read(Path("scores.json")), read(folder / "scores.json"))


def test_its_evaluations_compare_as_before(earlier: Path) -> None:
    pacos("compare", BASE, HALFWAY, BASE.with_name("copy-input--colours--alpaca"), "--out", "compared")
    assert_keeps(read(Path("compared/comparison.json")), read(RUN / "eval" / "comparison--colours--alpaca.json"))


def test_its_report_shows_every_part(earlier: Path) -> None:
    pacos("report", RUN)
    assert_keeps(read(RUN / "report.json"), expected("report.json"))
    page = (RUN / "report.html").read_text(encoding="utf-8")
    for part in ("Evaluation: colours", "Judged: colours", "People: colours", "People: dataset", "Training", "Dataset"):
        assert f"<h2>{part}" in page
    assert "41.67" in page, "ROUGE-L of the adapter"
    assert "ann" in page and "bob" in page, "the raters"
    assert read(RUN / "dataset" / "alpaca_data.json")[0]["instruction"] in page


def test_its_dataset_has_the_same_analysis(earlier: Path) -> None:
    before = read(RUN / "dataset" / "analysis.json")
    pacos("analyze", RUN / "dataset", "--seeds", "seeds.jsonl")
    assert_keeps(read(RUN / "dataset" / "analysis.json"), before)


def test_its_votes_have_the_same_results(earlier: Path) -> None:
    before = read(RUN / "review" / "rating--colours" / "review.json")
    pacos("review", BASE, HALFWAY, "--kind", "rating", "--n", 5, "--results")
    assert_keeps(read(RUN / "review" / "rating--colours" / "review.json"), before)


def test_generation_is_done_and_a_higher_target_asks_only_for_more(earlier: Path, tiny_base: Path) -> None:
    journal = RUN / "dataset" / "responses.jsonl"
    before = lines(journal)
    with Model(tiny_base) as server:
        command = ("generate", "--config", "experiment.yaml", f"engine.url={server.url}")
        pacos(*command)
        assert not server.asked
        pacos(*command, "generate.target=60")
        assert server.asked
    assert lines(journal)[: len(before)] == before
    assert len(server.asked) <= len(lines(journal)) - len(before) + IN_FLIGHT
    assert lines(RUN / "dataset" / "dataset.jsonl") == lines(DATA / "expected" / "dataset.jsonl")


@same_base
def test_evaluation_asks_only_for_the_missing_answers(earlier: Path, tiny_base: Path) -> None:
    folders = {model: RUN / "eval" / f"{model}--requests--alpaca" for model in ("base", "halfway")}
    before = {model: lines(folder / "predictions.jsonl") for model, folder in folders.items()}
    finished = {folder: lines(folder / "predictions.jsonl") for folder in (BASE, HALFWAY)}
    with Model(tiny_base) as server:
        pacos("evaluate", "--config", "experiment.yaml", f"engine.url={server.url}")
    asked = [body for body in server.bodies if body["max_tokens"] == ANSWER_TOKENS]
    assert len(asked) == 2 * len(lines(Path("requests.jsonl"))) - sum(map(len, before.values()))
    for model, folder in folders.items():
        assert lines(folder / "predictions.jsonl")[: len(before[model])] == before[model]
        wanted = expected(f"{model}--requests--alpaca.json")
        if adapter := wanted["adapter"]["path"]:  # of which that version hashed the weights alone
            wanted["adapter"]["sha256"] = adapter_sha256(Path(adapter))
            # The scripted log-probabilities follow from the adapter's name on the server, which is its hash.
            del wanted["adapter"]["proof"]["largest_difference"]
        assert_keeps(read(folder / "scores.json"), wanted)
    comparison = "comparison--requests--alpaca.json"
    assert_keeps(read(RUN / "eval" / comparison), expected(comparison))
    assert all(lines(folder / "predictions.jsonl") == rows for folder, rows in finished.items())
    assert read(RUN / "manifest.json")["stages"]["evaluate"]["status"] == "done"


@same_base
def test_training_resumes_and_ends_with_the_losses_of_an_uninterrupted_run(earlier: Path) -> None:
    metrics = RUN / "train" / "metrics.jsonl"
    checkpointed = lines(metrics)[:6]
    command = [sys.executable, str(ROOT / "train.py"), "--config", "experiment.yaml"]
    # One thread: two that wait for each other are many times slower on a busy machine.
    subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, check=True)
    assert lines(metrics)[:6] == checkpointed, "the steps before the checkpoint are not trained again"
    assert [json.loads(line)["loss"] for line in lines(metrics)] == pytest.approx(expected("losses.json"), rel=1e-4)
    assert (RUN / "train" / "adapter" / "adapter_model.safetensors").is_file()


@same_base
def test_judging_is_done(earlier: Path, tiny_base: Path) -> None:
    results = RUN / "judge" / "rubric--colours" / "results.json"
    before = results.read_bytes()
    with Model(tiny_base) as server:
        command = ("judge", "--kind", "rubric", "--config", "experiment.yaml", f"engine.url={server.url}")
        pacos(*command, "--answers", BASE, "--answers", HALFWAY)
    assert not server.asked
    assert results.read_bytes() == before
