"""The self-rewarding loop: real commands, the real trainer, a scripted server that repeats itself."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pacos.config import DataSource, with_values
from pacos.errors import ConfigError, DataError, RunError
from pacos.results import write_result
from pacos.results.figures import Rate
from pacos.results.judging import JudgeSettings, PairwiseFigures, PairwiseResults, Ranking
from pacos.results.rounds import AnswerLengths, PairStats, Round, RoundModel, ScoreMargin
from pacos.self_rewarding import rounds
from pacos.self_rewarding.loop import CompletedSteps
from pacos.self_rewarding.steps import all_steps, input_files
from tests.support.killed_run import ROOT, run_until_arrival
from tests.support.looped_run import Model, command, derived, experiment
from tests.support.scripted_server import ScriptedServer


def test_every_round_uses_the_model_of_the_round_before(tmp_path: Path, tiny_base: Path) -> None:
    config = with_values(experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1"), {"loop.rounds": 2})
    steps = {step.name: step for step in all_steps(config)}
    home = config.run_dir
    second = steps["round-2/train"].config
    assert second and second.train.adapter == str(home / "round-1" / "train" / "adapter")
    assert second.run_dir == home / "round-2" and second.train.objective == "dpo" and second.train.data == []
    judge = steps["round-2/judge"].config
    assert judge and judge.evaluate.judge.adapter == second.train.adapter
    prompts = steps["round-2/prompts"].config
    assert prompts and prompts.generate.known == [str(home / "round-1" / "dataset")]
    first = steps["round-1/prompts"].config
    assert first and prompts.seed == first.seed + 1
    assert steps["round-2/head-to-head"].words.count("--answers") == 3  # M3, and before it M2 and M1
    assert steps["round-1/head-to-head"].words.count("--answers") == 2


def test_without_judging_rows_a_model_that_only_answers_writes_them(tmp_path: Path, tiny_base: Path) -> None:
    config = with_values(
        experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1"), {"loop.judging": [], "loop.instructions": []}
    )
    names = [step.name for step in all_steps(config)]
    assert names[:5] == ["ranked", "seed/train", "seed/judge", "seed/judging", "round-0/train"]
    steps = {step.name: step.config for step in all_steps(config)}
    first = steps["round-0/train"]
    assert first and [Path(source.path or "").name for source in first.train.data] == [
        "instructions.jsonl", "judging.jsonl",
    ]  # fmt: skip


def test_full_models_continue_from_full_models(tmp_path: Path, tiny_base: Path) -> None:
    methods = {"train.method": "full", "loop.sft.method": "full"}
    full = with_values(experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1"), {**methods, "loop.rounds": 2})
    steps = {step.name: step for step in all_steps(full)}
    before = str(full.run_dir / "round-1" / "train" / "model")
    train, answers = steps["round-2/train"].config, steps["round-2/answers"]
    assert train and train.train.model == before and train.train.adapter is None
    assert answers.config and answers.config.answers.model == before and not answers.served.model


def test_a_step_is_done_until_its_command_an_earlier_one_or_the_data_changes(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1")
    record, files = tmp_path / "loop.json", input_files(config)
    assert len(files) == 3  # ranked answers, instructions, judging rows
    first, *_, last = all_steps(config)
    done = CompletedSteps(record, files)
    for step in (first, last):
        assert not done.includes(step)
        done.add(step, 1.0)
    again = CompletedSteps(record, files)
    assert again.includes(first) and again.includes(last)
    more = all_steps(with_values(config, {"loop.rounds": 2}))
    again = CompletedSteps(record, files)
    assert again.includes(more[0])  # one more round changes no step
    assert not CompletedSteps(record, files).includes(last)  # without the one before it
    longer = all_steps(with_values(config, {"answers.max_tokens": 32}))[-1]
    again = CompletedSteps(record, files)
    assert again.includes(first) and not again.includes(longer)
    files[0].write_text(files[0].read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert not CompletedSteps(record, files).includes(first)


def test_other_weights_of_the_base_make_every_step_due_again(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    step, *_ = all_steps(experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1"))
    record = tmp_path / "loop.json"
    for base, is_done in (("", False), ("one", True), ("two", True)):  # an earlier version recorded none
        assert CompletedSteps(record, [], base).includes(step) == is_done
        if not is_done:
            done = CompletedSteps(record, [], base)
            done.includes(step)
            done.add(step, 1.0)
    done = CompletedSteps(record, [], "one")
    done.includes(step)
    done.add(step, 1.0)
    assert CompletedSteps(record, [], "one").includes(step) and CompletedSteps(record, [], "").includes(step)
    assert not CompletedSteps(record, [], "two").includes(step)
    assert "the weights of the base changed under its name or path" in caplog.text


@pytest.mark.parametrize("damage", ["{", "[]", '{"ranked": 5}', '{"ranked": {"sha256": 1, "seconds": 1}}'])
def test_a_damaged_record_of_steps_is_named(tmp_path: Path, damage: str) -> None:
    (tmp_path / "loop.json").write_text(damage, encoding="utf-8")
    with pytest.raises(DataError, match=r"loop\.json: .*\n  → delete it"):
        CompletedSteps(tmp_path / "loop.json", [])


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"train.objective": "sft"}, "train.objective"),
        ({"train.template": "self-instruct"}, "train.template"),
        ({"train.data": [DataSource(path="pairs.jsonl")]}, "train.data"),
        ({"train.method": "full"}, "loop.sft"),
        ({"loop.ranked": None, "loop.judging": []}, "loop.ranked"),
    ],
)
def test_a_loop_that_cannot_work_is_refused(tmp_path: Path, tiny_base: Path, values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        all_steps(with_values(experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1"), values))
    assert refusal.value.where == key


def model(name: str, words: float, accuracy: float | None) -> RoundModel:
    rate = None if accuracy is None else Rate(accuracy, 0.0, 100.0)
    return RoundModel(name=name, words=words, ranking=Ranking(pairwise_accuracy=rate))


def pairs(margin: float) -> PairStats:
    return PairStats(
        tasks=2,
        answers=4,
        cut=0,
        scored=4,
        pairs=2,
        dropped={},
        share_of_ties=0.0,
        margin=ScoreMargin(margin),
        score=2.0,
        words=AnswerLengths(1.0, 1.0, 1.0),
        judgements=4,
        unreadable=0,
    )


def test_what_goes_wrong_is_reported_with_its_figure_and_limit(tmp_path: Path, tiny_base: Path) -> None:
    stops = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1").loop.stops
    good = [model("M1", 10, 60), model("M2", 24, 50)]
    assert rounds.alarms(good, [Round(1, None, pairs(0.6))], stops) == []
    bad = [model("M1", 10, 49.9), model("M2", 26, None)]
    found = rounds.alarms(bad, [Round(1, None, pairs(0.4)), Round(2, None, None)], stops)
    accuracy, unreadable, margin, length = found
    assert "M1 prefers what people prefer in 49.9 %" in accuracy and "50 %" in accuracy
    assert unreadable == "M2 gives no judgement that can be read"
    assert "0.40 points apart" in margin and "M2 answers in 26.0 words, 2.6 times" in length


def test_judges_at_chance_or_with_a_position_bias_are_named() -> None:
    sure = RoundModel(name="M1", ranking=Ranking(pairwise_accuracy=Rate(65, 58, 72)))
    against = {
        "M1": PairwiseFigures(n=9, wins=0, ties=9, losses=0, position_consistency=Rate(0, 0, 10)),
        "M0": PairwiseFigures(n=9, wins=6, ties=1, losses=2, position_consistency=Rate(80, 60, 95)),
    }
    unsure = RoundModel(name="M2", ranking=Ranking(pairwise_accuracy=Rate(54.1, 44.5, 63.7)), against=against)
    chance, biased = rounds.cautions([sure, unsure])
    assert "M2 judges no better than chance" in chance and "54.1 % [44.5, 63.7]" in chance
    assert "M2 against M1" in biased and "in only 0.0 %" in biased


def test_an_alarm_stops_the_loop_unless_it_may_continue(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1")
    write_result(config.run_dir / "round-1" / "pairs" / "stats.json", pairs(0.1))
    rounds.raise_alarm(config)
    stopping = with_values(config, {"loop.stops.stop": True})
    with pytest.raises(RunError, match=r"the loop stops: round 1: chosen and rejected are 0\.10 points apart"):
        rounds.raise_alarm(stopping)


def test_wins_of_the_others_are_losses_of_the_new_model(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1")
    results = PairwiseResults(
        suite="small",
        judge=JudgeSettings(model="judge"),
        kind="pairwise",
        n=20,
        unreadable=0,
        truncated=0,
        baseline="M2",
        models={"M1": PairwiseFigures(n=10, wins=6, ties=1, losses=3, win_rate=Rate(65.0, 40.0, 85.0))},
    )
    write_result(config.run_dir / "round-1" / "judge" / "pairwise--small" / "results.json", results)
    [found] = rounds.measured_rounds(config).models
    assert found.name == "M2"
    against = found.against["M1"]
    assert (against.wins, against.ties, against.losses) == (3, 1, 6)
    assert against.win_rate == Rate(35.0, 15.0, 60.0)


def test_a_killed_loop_repeats_no_step_and_gives_the_same_pairs_and_adapters(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer(answer=Model(tiny_base)) as server:
        whole, killed = (experiment(tmp_path, tiny_base, server.url, name=name) for name in ("whole", "killed"))
        subprocess.run(command(whole, tmp_path), cwd=ROOT, check=True)
        asked_once = len(server.asked)
        run_until_arrival(command(killed, tmp_path), server, asked_once * 2 // 3, patience_s=300)
        subprocess.run(command(killed, tmp_path), cwd=ROOT, check=True)
        asked = len(server.asked)
        subprocess.run(command(killed, tmp_path), cwd=ROOT, check=True)
        assert len(server.asked) == asked
    # What was in flight is asked for again, and so are the probes of the command that was killed.
    assert asked <= 2 * asked_once + int(killed.engine.max_in_flight) + 60
    assert dict(derived(killed)) == dict(derived(whole))
    found = json.loads((killed.run_dir / "rounds.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in found["models"]] == ["M1", "M2"]
    page = (killed.run_dir / "report.html").read_text(encoding="utf-8")
    assert "Rounds of self-rewarding" in page and "M3 (published)" in page
