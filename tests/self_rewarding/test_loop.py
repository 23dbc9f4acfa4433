"""The self-rewarding loop: real commands, the real trainer, a scripted server that repeats itself."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, DataSource
from pacos.errors import ConfigError, RunError
from pacos.records import write_json
from pacos.self_rewarding import rounds
from pacos.self_rewarding.loop import Done
from pacos.self_rewarding.steps import all_steps, learnt_files
from tests.support.killed_run import ROOT, run_until_arrival
from tests.support.looped_run import Model, command, derived, experiment
from tests.support.scripted_server import ScriptedServer


def changed(config: Config, **values: Any) -> Config:
    """With `section.key=value` given as section_key=value."""
    for name, value in values.items():
        section, _, key = name.partition("_")
        config = config.model_copy(update={section: getattr(config, section).model_copy(update={key: value})})
    return config


def test_every_round_asks_the_model_of_the_round_before(tmp_path: Path, tiny_base: Path) -> None:
    config = changed(experiment(tmp_path, tiny_base, ""), loop_rounds=2)
    steps = {step.name: step for step in all_steps(config)}
    home = config.run_dir
    second = steps["round-2/train"].config
    assert second and second.train.adapter == str(home / "round-1" / "train" / "adapter")
    assert second.run_dir == home / "round-2" and second.train.objective == "dpo" and second.train.data == []
    judge = steps["round-2/judge"].config
    assert judge and judge.evaluate.judge.adapter == second.train.adapter
    prompts = steps["round-2/prompts"].config
    assert prompts and prompts.generate.known == [str(home / "round-1" / "dataset")]
    assert prompts.seed != (first := steps["round-1/prompts"].config) and first and prompts.seed == first.seed + 1
    assert steps["round-2/head-to-head"].words.count("--answers") == 3  # M3, and before it M2 and M1
    assert steps["round-1/head-to-head"].words.count("--answers") == 2


def test_without_judging_rows_a_model_that_only_answers_writes_them(tmp_path: Path, tiny_base: Path) -> None:
    config = changed(experiment(tmp_path, tiny_base, ""), loop_judging=[], loop_instructions=[])
    names = [step.name for step in all_steps(config)]
    assert names[:5] == ["ranked", "seed/train", "seed/judge", "seed/judging", "round-0/train"]
    steps = {step.name: step.config for step in all_steps(config)}
    first = steps["round-0/train"]
    assert first and [Path(source.path or "").name for source in first.train.data] == [
        "instructions.jsonl", "judging.jsonl",
    ]  # fmt: skip


def test_whole_models_go_on_from_whole_models(tmp_path: Path, tiny_base: Path) -> None:
    full = changed(experiment(tmp_path, tiny_base, ""), train_method="full")
    full = changed(full, loop_sft=full.loop.sft.model_copy(update={"method": "full"}), loop_rounds=2)
    steps = {step.name: step for step in all_steps(full)}
    before = str(full.run_dir / "round-1" / "train" / "model")
    train, answers = steps["round-2/train"].config, steps["round-2/answers"]
    assert train and train.train.model == before and train.train.adapter is None
    assert answers.config and answers.config.answers.model == before and not answers.engine


def test_a_step_is_done_until_its_command_an_earlier_one_or_the_data_changes(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "")
    record, files = tmp_path / "loop.json", learnt_files(config)
    assert len(files) == 3  # ranked answers, instructions, judging rows
    first, *_, last = all_steps(config)
    done = Done(record, files)
    for step in (first, last):
        assert not done.knows(step)
        done.add(step, 1.0)
    again = Done(record, files)
    assert again.knows(first) and again.knows(last)
    more = all_steps(changed(config, loop_rounds=2))
    again = Done(record, files)
    assert again.knows(more[0])  # a round more makes no step another
    assert not Done(record, files).knows(last)  # without the one before it
    longer = all_steps(changed(config, answers_max_tokens=32))[-1]
    again = Done(record, files)
    assert again.knows(first) and not again.knows(longer)
    files[0].write_text(files[0].read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert not Done(record, files).knows(first)


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"train_objective": "sft"}, "train.objective"),
        ({"train_template": "self-instruct"}, "train.template"),
        ({"train_data": [DataSource(path="pairs.jsonl")]}, "train.data"),
        ({"train_method": "full"}, "loop.sft"),
        ({"loop_ranked": None, "loop_judging": []}, "loop.ranked"),
    ],
)
def test_a_loop_that_could_not_go_on_is_refused(
    tmp_path: Path, tiny_base: Path, values: dict[str, Any], key: str
) -> None:
    with pytest.raises(ConfigError) as refusal:
        all_steps(changed(experiment(tmp_path, tiny_base, ""), **values))
    assert refusal.value.where == key


def model(name: str, words: float, accuracy: float | None) -> dict[str, Any]:
    rate = None if accuracy is None else {"rate": accuracy, "low": 0.0, "high": 100.0}
    return {"name": name, "suites": {}, "words": words, "ranking": {"pairwise_accuracy": rate}, "against": {}}


def test_what_goes_wrong_is_said_with_its_figure_and_limit(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "")
    good = {
        "models": [model("M1", 10, 60), model("M2", 24, 50)],
        "rounds": [{"round": 1, "pairs": {"margin": {"mean": 0.6}}}],
    }
    assert rounds.alarms(config, good) == []
    bad = {
        "models": [model("M1", 10, 49.9), model("M2", 26, None)],
        "rounds": [{"round": 1, "pairs": {"margin": {"mean": 0.4}}}, {"round": 2, "pairs": None}],
    }
    accuracy, unreadable, margin, length = rounds.alarms(config, bad)
    assert "M1 prefers what people prefer in 49.9 %" in accuracy and "50 %" in accuracy
    assert unreadable == "M2 judges nothing that can be read"
    assert "0.40 points apart" in margin and "M2 answers in 26.0 words, 2.6 times" in length


def test_an_alarm_stops_the_loop_unless_it_may_go_on(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "")
    stats = {"margin": {"mean": 0.1}}
    write_json(config.run_dir / "round-1" / "pairs" / "stats.json", stats)
    rounds.raise_alarm(config)
    stopping = changed(config, loop_stops=config.loop.stops.model_copy(update={"stop": True}))
    with pytest.raises(RunError, match=r"the loop stops: round 1: chosen and rejected are 0\.10 points apart"):
        rounds.raise_alarm(stopping)


def test_wins_of_the_others_are_losses_of_the_new_model(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "")
    row = {"n": 10, "wins": 6, "ties": 1, "losses": 3, "win_rate": {"rate": 65.0, "low": 40.0, "high": 85.0}}
    write_json(config.run_dir / "round-1" / "judge" / "pairwise--small" / "results.json", {"models": {"M1": row}})
    [found] = rounds.gather(config)["models"]
    assert found["name"] == "M2"
    against = found["against"]["M1"]
    assert (against["wins"], against["ties"], against["losses"]) == (3, 1, 6)
    assert against["win_rate"] == {"rate": 35.0, "low": 15.0, "high": 60.0}


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
    assert asked <= 2 * asked_once + killed.engine.max_in_flight + 60
    assert dict(derived(killed)) == dict(derived(whole))
    found = json.loads((killed.run_dir / "rounds.json").read_text(encoding="utf-8"))
    assert [model["name"] for model in found["models"]] == ["M1", "M2"]
    page = (killed.run_dir / "report.html").read_text(encoding="utf-8")
    assert "Rounds of self-rewarding" in page and "M3 (published)" in page
