"""Answers and scores → preference pairs; the figures are worked out by hand."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from pacos.config import section_sha256, with_values
from pacos.errors import DataError, RunError
from pacos.files import file_sha256, write_jsonl
from pacos.models import model_sha256
from pacos.records import AnswerRow, Judgement, PairRow, read_records
from pacos.results.rounds import AnswerLengths, ScoreMargin
from pacos.runs import Run
from pacos.self_rewarding import answers as answering
from pacos.self_rewarding import pairs as pairing
from pacos.train.data.pairs import parse_pair
from tests.support.looped_run import Model, experiment
from tests.support.scripted_server import ScriptedServer
from tests.support.tiny_llama import build_tiny_llama, write_adapter


def answer(id: str, sample: int, output: str = "", finish_reason: str = "stop") -> AnswerRow:
    return AnswerRow(id, f"Do {id}.", "", output or f"{id} {sample}", "M1", sample, "", finish_reason)


def judgements(answers: list[AnswerRow], scores: dict[tuple[str, int], list[str]]) -> list[Judgement]:
    return [
        Judgement("additive", one.id, one.model, "", one.sample, repeat, "", False, verdict, f"So: {verdict}", "stop")
        for one in answers
        for repeat, verdict in enumerate(scores[one.id, one.sample])
    ]


def test_the_highest_mean_is_chosen_and_the_lowest_rejected() -> None:
    answers = [answer("a", sample) for sample in range(4)]
    scores = {
        ("a", 0): ["3", "3", "3"],
        ("a", 1): ["5", "4", "5"],
        ("a", 2): ["1", "2", "1"],
        ("a", 3): ["1", "2", "2"],
    }
    [pair], dropped = pairing.pair_up(answers, pairing.score_answers(answers, judgements(answers, scores)))
    assert (pair.chosen, pair.rejected, dropped) == ("a 1", "a 2", [])
    assert (pair.chosen_score, pair.rejected_score) == pytest.approx((14 / 3, 4 / 3))
    assert pair.chosen_judgements == ["So: 5", "So: 4", "So: 5"]


def test_an_unreadable_judgement_is_neither_a_score_nor_a_rejection() -> None:
    answers = [answer("a", sample) for sample in range(3)]
    scores = {("a", 0): ["2", "", "2"], ("a", 1): ["", "", ""], ("a", 2): ["4", "4", ""]}
    found = pairing.score_answers(answers, judgements(answers, scores))
    [pair], _ = pairing.pair_up(answers, found)
    assert (pair.chosen, pair.rejected, pair.chosen_score, pair.rejected_score) == ("a 2", "a 0", 4.0, 2.0)
    assert pairing.pair_stats(answers, [], found, [pair], []).scored == 2


def test_tasks_without_a_pair_are_listed_with_the_reason() -> None:
    answers = [answer("tie", 0), answer("tie", 1), answer("alone", 0), answer("alone", 1), answer("same", 0, "x")]
    answers += [answer("same", 1, "x"), answer("cut", 0), answer("cut", 1, finish_reason="length")]
    scores = {(one.id, one.sample): [str(one.sample)] for one in answers}
    scores |= {("tie", 0): ["3"], ("tie", 1): ["2", "4"], ("alone", 1): [""]}
    found = pairing.score_answers(answers, judgements(answers, scores))
    pairs, dropped = pairing.pair_up(answers, found)
    assert not pairs
    reasons = {one.id: one.reason for one in dropped}
    assert reasons == {"tie": "tie", "alone": "unscored", "same": "alike", "cut": "unscored"}
    stats = pairing.pair_stats(answers, [], found, pairs, dropped)
    assert stats.cut == 1 and stats.share_of_ties == 1.0  # the one task with two texts to compare is a tie


def test_samples_of_one_text_are_one_answer_with_the_judgements_of_all() -> None:
    answers = [answer("a", 0, "x"), answer("a", 1, "y"), answer("a", 2, "x")]
    scores = {("a", 0): ["5", "5", "5"], ("a", 1): ["4", "4", "4"], ("a", 2): ["0", "", ""]}
    [pair], _ = pairing.pair_up(answers, pairing.score_answers(answers, judgements(answers, scores)))
    assert (pair.chosen, pair.rejected) == ("y", "x")
    assert (pair.chosen_score, pair.rejected_score) == (4.0, 15 / 4)  # of x, four judgements could be read


def test_statistics_of_pairs() -> None:
    answers = [answer("a", 0, "one two three"), answer("a", 1, "one"), answer("b", 0, "one two"), answer("b", 1, "x y")]
    scores = {("a", 0): ["5"], ("a", 1): ["1"], ("b", 0): ["2"], ("b", 1): ["3"]}
    found = pairing.score_answers(answers, judgements(answers, scores))
    stats = pairing.pair_stats(answers, [], found, *pairing.pair_up(answers, found))
    assert stats.margin == ScoreMargin(mean=2.5, counts={1: 1, 4: 1})
    assert stats.words == AnswerLengths(answers=2.0, chosen=2.5, rejected=1.5)
    assert stats.score == 2.75


def test_a_judgement_of_another_answer_is_refused() -> None:
    stray = Judgement("additive", "b", "M1", "", 0, 0, "", False, "3", "", "stop")
    with pytest.raises(DataError, match="belongs to none of these answers"):
        pairing.score_answers([answer("a", 0)], [stray])


@pytest.mark.parametrize("verdict", ["x", "6", "-1", "2.5", "9" * 5000])
def test_a_verdict_that_is_no_score_is_refused_with_its_file(tmp_path: Path, verdict: str) -> None:
    forged = Judgement("additive", "a", "M1", "", 0, 0, "", False, verdict, "", "stop")
    with pytest.raises(DataError, match=r"judgements\.jsonl: .*is not a score from 0 to 5"):
        pairing.score_answers([answer("a", 0)], [forged], where=tmp_path / "judgements.jsonl")


def test_answers_are_asked_once_each_and_stand_in_the_order_of_the_tasks(tmp_path: Path, tiny_base: Path) -> None:
    tasks = [{"instruction": f"Say {number}.", "input": "", "output": ""} for number in range(5)]
    write_jsonl(tmp_path / "tasks.jsonl", tasks)
    with ScriptedServer(answer=Model(tiny_base)) as server:
        config = experiment(tmp_path, tiny_base, server.url)
        config = with_values(config, {"answers.tasks": str(tmp_path / "tasks.jsonl")})
        server.status = lambda arrival: 400 if arrival == 8 else 200
        with pytest.raises(Exception, match="scripted failure"), Run.open(config) as run:
            answering.main(config, run)
        server.status = lambda arrival: 200
        path = config.run_dir / "answers" / "answers.jsonl"
        answered = len(read_records(path, AnswerRow))
        before = len(server.asked)
        with Run.open(config) as run:
            answering.main(config, run)
        assert answered and len(server.asked) - before == 15 - answered
        rows = read_records(path, AnswerRow)
        with Run.open(config) as run:
            answering.main(config, run)
        assert len(server.asked) - before == 15 - answered
    assert [(row.id, row.sample) for row in rows] == [
        (f"row-{number:06d}", sample) for number in range(1, 6) for sample in range(3)
    ]
    assert len({row.output for row in rows if row.id == "row-000001"}) > 1  # a seed of its own for each sample


def test_other_weights_of_base_or_adapter_ask_all_answers_again(
    tmp_path: Path, tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base = shutil.copytree(tiny_base, tmp_path / "base")
    adapter = write_adapter(base, tmp_path / "adapter", 0.3, 1)
    write_jsonl(tmp_path / "tasks.jsonl", [{"instruction": f"Say {number}.", "output": ""} for number in range(2)])
    with ScriptedServer(answer=Model(tiny_base)) as server:
        config = experiment(tmp_path, base, server.url)
        places = {"answers.tasks": str(tmp_path / "tasks.jsonl"), "answers.adapter": str(adapter)}
        config = with_values(config, places)

        def asked() -> int:
            server.bodies.clear()
            with Run.open(config) as run:
                answering.main(config, run)
            return sum(body["max_tokens"] == config.answers.max_tokens for body in server.bodies)

        assert asked() == 6
        # As an earlier version recorded it: the adapter by its weights alone.
        companion = config.run_dir / "answers" / "settings.sha256"
        weights = file_sha256(adapter / "adapter_model.safetensors")
        base_sha256 = model_sha256(str(base), config.model)
        decides = [config.answers, config.train.template, config.model, base_sha256, config.seed, weights]
        companion.write_text(section_sha256(*decides), encoding="utf-8")
        (config.run_dir / "manifest.json").write_text('{"name": "loop"}', encoding="utf-8")
        assert asked() == 0
        settings = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
        (adapter / "adapter_config.json").write_text(json.dumps(settings | {"lora_alpha": 64}), encoding="utf-8")
        assert asked() == 6
        assert "asked again; the adapter's weights or configuration changed" in caplog.text
        build_tiny_llama(base, seed=9)
        assert asked() == 6
        assert "asked again; the base's weights changed" in caplog.text
    assert len(list((config.run_dir / "answers").glob("superseded-*"))) == 2


def test_a_judge_that_cannot_choose_stops_before_training(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9")
    answers = [answer("a", 0), answer("a", 1)]
    write_jsonl(config.run_dir / "answers" / "answers.jsonl", answers)
    judged = tmp_path / "judged"
    write_jsonl(judged / "judgements.jsonl", judgements(answers, {("a", 0): ["3"], ("a", 1): ["3"]}))
    (config.run_dir / "manifest.json").write_text('{"name": "loop", "stages": {}}', encoding="utf-8")
    with pytest.raises(RunError, match=r"none of 1 tasks gives a pair \(tie 1\)"), Run.open(config) as run:
        pairing.main(config, run, judged)


def test_pairs_are_what_preference_training_reads() -> None:
    row = PairRow("Do it.", "", "well", "badly", "a", 4.0, 1.0, ["x"], ["y"])
    pair = parse_pair(dataclasses.asdict(row), where="here")
    assert (pair.instruction, pair.chosen, pair.rejected) == ("Do it.", "well", "badly")
