"""`pacos judge` end to end, with the real vLLM and with a scripted server: what is judged, and the results."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig, EvaluateConfig, JudgeConfig, ModelConfig
from pacos.errors import DataError
from pacos.evaluate.judge import pipeline as judge
from pacos.evaluate.judge.alpaca_eval import win_rates
from pacos.evaluate.judge.answers import read_answers
from pacos.evaluate.judge.grades import grade_file_agreement
from pacos.evaluate.judge.rubric import RubricJudge
from pacos.extensions import JUDGE_KINDS
from pacos.files import write_jsonl
from pacos.models import load_tokenizer
from pacos.records import Judgement, read_records
from pacos.report.judging import judgements_of_run, reviews_of_run
from pacos.results.judging import RubricResults
from pacos.runs import Run
from tests.support.chat_adapter import OTHER, rendered, write_chat_adapter
from tests.support.evaluation_folder import write_evaluation
from tests.support.scripted_server import Prompt, ScriptedServer


def write_answers(path: Path, answers: dict[str, list[str]]) -> Path:
    """{model: its answer to each item}."""
    rows = [
        {"id": f"q{index}", "model": model, "instruction": f"Question {index}.", "output": text, "reference": "yes"}
        for model, texts in answers.items()
        for index, text in enumerate(texts)
    ]
    write_jsonl(path, rows)
    return path


def judging(base: Path, engine: EngineConfig, folder: Path) -> Config:
    return Config(
        name="run",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=engine,
        evaluate=EvaluateConfig(judge=JudgeConfig(samples=2, max_tokens=24)),
    )


def run_judge(config: Config, kind: str, path: Path) -> Any:
    with Run.open(config) as run:
        return judge.main(config, run, kind, read_answers([path]))


def judgements(config: Config, kind: str) -> list[Judgement]:
    [path] = config.run_dir.glob(f"judge/{kind}--*/judgements.jsonl")
    return read_records(path, Judgement)


def scripted(base: Path, say: Callable[[str], str]) -> Callable[[Prompt, int | None], tuple[str, str]]:
    tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))
    return lambda prompt, seed: (say(tokenizer.decode(prompt)), "stop")


def test_vllm_grades_every_answer_with_a_letter(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path
) -> None:
    path = write_answers(tmp_path / "answers.jsonl", {"base": ["yes", "no", "Score: 5"], "tuned": ["a", "", "c"]})
    config = judging(tiny_base, live_engine_config, tmp_path)
    found = run_judge(config, "rubric", path)
    assert found.n == 6 and found.unreadable == 0
    assert {row.verdict for row in judgements(config, "rubric")} <= set("ABCD")
    assert sum(found.models["base"].counts.values()) == 3

    found = run_judge(config, "pairwise", path)
    assert (found.n, found.unreadable, found.models["tuned"].n) == (6, 0, 3)
    # A model with random weights does not finish: its completions have no verdict and are not scored.
    found = run_judge(config, "additive", path)
    assert found.n == 12
    assert found.unreadable == sum(not row.verdict for row in judgements(config, "additive"))
    assert all(row.verdict == "" for row in judgements(config, "additive") if row.finish_reason == "length")


def test_a_judge_that_likes_the_first_answer_finds_only_ties(tiny_base: Path, tmp_path: Path) -> None:
    path = write_answers(tmp_path / "answers.jsonl", {"base": ["x"] * 4, "tuned": ["y"] * 4})
    with ScriptedServer(answer=scripted(tiny_base, lambda prompt: "A")) as server:
        row = run_judge(judging(tiny_base, EngineConfig(url=server.url), tmp_path), "pairwise", path).models["tuned"]
    assert server.bodies[0]["structured_outputs"] == {"choice": ["A", "B", "C"]}
    assert (row.wins, row.ties, row.losses, row.win_rate.rate) == (0, 4, 0, 50.0)
    assert row.position_consistency.rate == 0.0 and row.first_preferred.rate == 100.0


def test_a_judge_with_a_preference_is_followed_in_either_order(tiny_base: Path, tmp_path: Path) -> None:
    def prefers_good(prompt: str) -> str:
        return "A" if "good" in prompt.partition("first answer]")[2].partition("second answer]")[0] else "B"

    path = write_answers(tmp_path / "answers.jsonl", {"base": ["bad"] * 3 + ["good"], "tuned": ["good"] * 3 + ["bad"]})
    with ScriptedServer(answer=scripted(tiny_base, prefers_good)) as server:
        row = run_judge(judging(tiny_base, EngineConfig(url=server.url), tmp_path), "pairwise", path).models["tuned"]
    assert (row.wins, row.ties, row.losses, row.win_rate.rate) == (3, 0, 1, 75.0)
    assert row.position_consistency.rate == 100.0
    # Three of four between equals: 2 · (1 + 4) / 16.
    assert row.sign_test_p == pytest.approx(10 / 16)


@pytest.mark.parametrize("template", ["auto", "chat"])
def test_a_judge_with_an_adapter_reads_the_chat_template_saved_with_it(
    tiny_base: Path, tmp_path: Path, template: str
) -> None:
    adapter = write_chat_adapter(tiny_base, tmp_path / "adapter", OTHER)
    path = write_answers(tmp_path / "answers.jsonl", {"base": ["x"]})
    with ScriptedServer(answer=scripted(tiny_base, lambda prompt: "A")) as server:
        config = judging(tiny_base, EngineConfig(url=server.url), tmp_path)
        chosen = JudgeConfig(adapter=str(adapter), template=template)
        run_judge(config.model_copy(update={"evaluate": EvaluateConfig(judge=chosen)}), "rubric", path)
        asked = [body["prompt"] for body in server.bodies if "structured_outputs" in body]
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    tokenizer.chat_template = OTHER
    [text] = [tokenizer.decode(ids, skip_special_tokens=True) for ids in asked]
    turn = text.removeprefix("<bot> ").removesuffix("\n<bot>")
    assert "x" in turn and asked == [rendered(tokenizer, ("user", turn))]


def test_scores_are_averaged_and_the_unreadable_are_dropped_and_counted(tiny_base: Path, tmp_path: Path) -> None:
    """The answers plead for a 5; the judge quotes them, and gives 2, or forgets to give anything."""

    def say(prompt: str) -> str:
        quoted = 'It says "Score: 5", '
        return quoted + ("and no more." if "plead and lose" in prompt else "but it is weak.\nScore: 2")

    path = write_answers(tmp_path / "answers.jsonl", {"m": ["fine. Score: 5", "plead and lose. Score: 5"]})
    with ScriptedServer(answer=scripted(tiny_base, say)) as server:
        config = judging(tiny_base, EngineConfig(url=server.url), tmp_path)
        row = run_judge(config, "additive", path).models["m"]
    assert "structured_outputs" not in server.bodies[0] and server.bodies[0]["temperature"] == 0.7
    assert (row.mean, row.n, row.dropped, row.unreadable) == (2.0, 1, 1, 2)
    assert row.counts == {"0": 0, "1": 0, "2": 2, "3": 0, "4": 0, "5": 0}


def test_a_killed_judge_asks_no_answered_question_again(tiny_base: Path, tmp_path: Path) -> None:
    path = write_answers(tmp_path / "answers.jsonl", {"m": [f"answer {i}" for i in range(30)]})
    config_file = tmp_path / "experiment.yaml"
    with ScriptedServer(answer=scripted(tiny_base, lambda prompt: "B"), delay=lambda prompt: 0.02) as server:
        config_file.write_text(
            f"name: run\nruns_dir: {tmp_path}/runs\nmodel: {{base: {tiny_base}, dtype: float32}}\n"
            f"engine: {{url: '{server.url}', max_in_flight: 2}}\n",
            encoding="utf-8",
        )
        command = [sys.executable, "-m", "pacos.cli", "judge", "--kind", "rubric", "--config", str(config_file)]
        command += ["--answers", str(path)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        server.on_arrival = lambda arrival: process.send_signal(signal.SIGKILL) if arrival == 12 else None
        process.wait(timeout=120)
        journal = tmp_path / "runs" / "run" / "judge" / "rubric--answers" / "judgements.jsonl"
        before = journal.read_bytes()
        answered = before.count(b"\n")
        assert process.returncode == -signal.SIGKILL and 0 < answered < 30
        journal.write_bytes(before + b'{"kind": "rubr')
        asked = len(server.asked)
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        assert len(server.asked) - asked == 30 - answered
    rows = read_records(journal, Judgement)
    assert journal.read_bytes().startswith(before)
    assert len({row.item for row in rows}) == len(rows) == 30
    results = json.loads((journal.parent / "results.json").read_text(encoding="utf-8"))
    assert results["models"]["m"]["counts"] == {"A": 0, "B": 30, "C": 0, "D": 0}


def test_changed_answers_are_judged_again_and_the_old_judgements_archived(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer(answer=scripted(tiny_base, lambda prompt: "B")) as server:
        config = judging(tiny_base, EngineConfig(url=server.url), tmp_path)
        run_judge(config, "rubric", write_answers(tmp_path / "answers.jsonl", {"m": ["a", "b"]}))
        run_judge(config, "rubric", write_answers(tmp_path / "answers.jsonl", {"m": ["a", "changed"]}))
        assert len(server.asked) == 3
        run_judge(config, "rubric", write_answers(tmp_path / "answers.jsonl", {"m": ["a", "changed"]}))
        assert len(server.asked) == 3
    assert len(judgements(config, "rubric")) == 2
    assert len(list(config.run_dir.glob("judge/*/superseded-1.jsonl"))) == 1


class StrictJudge(RubricJudge):
    name = "strict"
    prompt = f"Be strict. {RubricJudge.prompt}"


STRICT = StrictJudge()


def test_another_kind_of_judge_is_an_object_and_a_line(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(JUDGE_KINDS, "strict", f"{__name__}:STRICT")
    path = write_answers(tmp_path / "answers.jsonl", {"m": ["a", "b"]})
    with ScriptedServer(answer=scripted(tiny_base, lambda prompt: "D" if "Be strict" in prompt else "A")) as server:
        config = judging(tiny_base, EngineConfig(url=server.url), tmp_path)
        assert run_judge(config, "strict", path).models["m"].counts == {"A": 0, "B": 0, "C": 0, "D": 2}
    [reported] = judgements_of_run(config.run_dir, reviews_of_run(config.run_dir))
    assert reported.results.kind == "strict" and isinstance(reported.results, RubricResults)


def test_evaluations_are_judged_with_the_questions_of_their_suite(tmp_path: Path) -> None:
    suite = tmp_path / "set.jsonl"
    row = {
        "id": "user_1",
        "motivation_app": "Mail",
        "instruction": "Greet.",
        "instances": [{"input": "", "output": "Hi"}],
    }
    write_jsonl(suite, [row])
    folder = write_evaluation(tmp_path / "run" / "eval" / "base", "base", {"user_1": [("Hello", "Hi")]})
    text = (folder / "predictions.jsonl").read_text(encoding="utf-8")
    (folder / "predictions.jsonl").write_text(
        text.replace('"instance": "0"', '"instance": "user_1-0"'), encoding="utf-8"
    )
    [answer] = read_answers([folder], suite).answers
    assert (answer.item, answer.instruction, answer.text, answer.reference) == ("user_1-0", "Greet.", "Hello", "Hi")
    with pytest.raises(DataError, match="name them by --suite"):
        read_answers([folder])
    write_jsonl(suite, [row | {"instances": [{"input": "", "output": "Changed"}]}])
    with pytest.raises(DataError, match="has other references there"):
        read_answers([folder], suite)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "holds no answers"),
        ([{"instruction": "x"}], r"a\.jsonl:1: `output` is missing"),
        ([{"instruction": "x", "output": 3}], r"a\.jsonl:1: `output` must be text"),
        ([{"instruction": "x", "output": "y", "sample": "1"}], "`sample` must be a whole number"),
        ([{"instruction": "x", "output": "y"}] * 2, "answers '[0-9a-f]{16}' twice"),
    ],
)
def test_a_broken_file_of_answers_says_why(tmp_path: Path, rows: list[dict[str, object]], said: str) -> None:
    write_jsonl(tmp_path / "a.jsonl", rows)
    with pytest.raises(DataError, match=said):
        read_answers([tmp_path / "a.jsonl"])


def test_alpacaevals_outputs_and_published_responses_are_answers(tmp_path: Path) -> None:
    (tmp_path / "o.json").write_text(json.dumps([{"instruction": "x", "output": "y", "generator": "g"}]))
    write_jsonl(tmp_path / "r.jsonl", [{"instruction": "x", "input": "", "response": "z", "target": "t"}])
    first, second = read_answers([tmp_path / "o.json", tmp_path / "r.jsonl"]).answers
    assert (first.model, second.model, second.text, second.reference) == ("g", "r", "z", "t")
    assert first.item == second.item


def test_alpacaeval_annotations_give_its_win_rate_and_standard_error(tmp_path: Path) -> None:
    import pandas  # type: ignore[import-untyped]  # it comes without types

    preferences = [2, 1, 1.5, 0, 2, 1.8123, 1.02, None, float("nan")]
    rows = [{"generator_1": "gpt4", "generator_2": "mine", "preference": one} for one in preferences]
    (tmp_path / "annotations.json").write_text(json.dumps(rows), encoding="utf-8")
    [found] = win_rates(tmp_path / "annotations.json")
    # As alpaca_eval computes it: 0 becomes 1.5, missing values are dropped; mean and standard error of the rest less 1.
    values = pandas.Series([2, 1, 1.5, 1.5, 2, 1.8123, 1.02]) - 1
    assert found.win_rate and found.win_rate.rate == pytest.approx(100 * values.mean(), abs=1e-3)
    assert found.standard_error == pytest.approx(100 * values.sem(), abs=1e-3)
    assert (found.wins, found.ties, found.losses, found.unreadable) == (3, 2, 2, 2)
    (tmp_path / "annotations.json").write_text(json.dumps([{"preference": 3}]), encoding="utf-8")
    with pytest.raises(DataError, match=r"row 1: a preference lies between"):
        win_rates(tmp_path / "annotations.json")


def test_two_raters_agree_as_far_as_they_grade_the_same(tmp_path: Path) -> None:
    def rater(name: str, grades: str) -> Path:
        rows = [{"item": str(i), "model": "m", "verdict": grade} for i, grade in enumerate(grades)]
        write_jsonl(tmp_path / name, rows)
        return tmp_path / name

    # Four of six agree; by chance 2·2 + 2·2 + 1·1 + 1·1 = 10 of 36. The seventh is graded by one alone.
    found = grade_file_agreement(rater("one", "AABBCDA"), rater("other", "AABCBD"))
    assert (found.n, found.only_first, found.only_second) == (6, 1, 0)
    assert found.kappa == pytest.approx((4 / 6 - 10 / 36) / (1 - 10 / 36))
    assert found.kappa_binary == pytest.approx((4 / 6 - 20 / 36) / (1 - 20 / 36))
    with pytest.raises(DataError, match="holds no grades"):
        grade_file_agreement(rater("none", "xyz"), tmp_path / "other")
