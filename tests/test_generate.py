"""The whole generation stage: against a scripted server where an engine must repeat itself, and the real vLLM."""

import asyncio
import hashlib
import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacos.config import Config, EngineConfig, parse_config
from pacos.errors import ConfigError, DataError, EngineError, RunError
from pacos.generate import pipeline
from pacos.generate.curate import curate
from pacos.generate.journal import read_responses
from pacos.generate.prompts import format_item
from pacos.generate.request import RequestMaker
from pacos.generate.scheduler import ask_ahead
from pacos.generate.seeds import load_seeds
from pacos.records import DatasetRow, JsonlWriter, Rejection, Response, read_records, read_tasks
from pacos.runs import Run, read_manifest
from tests.killed_run import ROOT, generate_command, run_until_arrival
from tests.scripted_server import Prompt, ScriptedServer, list_answer

NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Twelve short seed tasks: three fit the tiny model's context beside an answer."""
    rows = [
        {
            "id": f"seed_task_{number}",
            "name": f"seed_{number}",
            "instruction": f"Say the number {word} aloud.",
            "instances": [{"input": "", "output": word}],
            "is_classification": False,
        }
        for number, word in enumerate(NUMBERS)
    ]
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def experiment(
    tmp_path: Path, base: Path, url: str, seeds: Path, *, name: str = "run", in_flight: int = 8, **generate: Any
) -> Config:
    values = {
        "name": name,
        "runs_dir": str(tmp_path / "runs"),
        "model": {"base": str(base)},
        "engine": {"url": url, "max_in_flight": in_flight},
        "generate": {"seeds": str(seeds), "target": 100, "window": 32, **generate},
    }
    return parse_config(values, where="test")


def generate(config: Config) -> dict[str, bytes]:
    """Run the stage; the derived files' bytes."""
    with Run.open(config) as run:
        pipeline.main(config, run)
    return derived(config)


def derived(config: Config) -> dict[str, bytes]:
    folder = config.run_dir / "dataset"
    return {name: (folder / name).read_bytes() for name in ("dataset.jsonl", "rejected.jsonl", "alpaca_data.json")}


def stats_of(config: Config) -> dict[str, Any]:
    return dict(json.loads((config.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8")))


def jitter(prompt: Prompt) -> float:
    """Up to 60 ms, another for each prompt: answers come in another order than they were asked."""
    return hashlib.sha256(repr(prompt).encode()).digest()[0] / 4000


def test_a_run_stops_at_its_target_and_accounts_for_every_item(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        generate(config)
    folder = config.run_dir / "dataset"
    rows, rejected = (
        read_records(folder / "dataset.jsonl", DatasetRow),
        read_records(folder / "rejected.jsonl", Rejection),
    )
    stats = stats_of(config)
    funnel = stats["funnel"]
    assert (len(rows), funnel["accepted"], stats["stopped_by"]) == (100, 100, "target")
    assert funnel["items"] == len(rows) + len(rejected)
    assert funnel["rejected"] == Counter(rejection.reason for rejection in rejected)
    assert {"novelty", "too_short", "incomplete"} <= funnel["rejected"].keys()
    journal = read_responses(folder / "responses.jsonl")
    assert stats["tokens"]["completion"] == sum(answer.completion_tokens for answer in journal.values())
    assert funnel["answered"] == len(journal)
    manifest = read_manifest(config.run_dir)["stages"]["generate"]
    assert (manifest["status"], manifest["tokens"]) == ("done", stats["tokens"])
    texts = json.loads((folder / "alpaca_data.json").read_text(encoding="ascii"))
    assert texts == [{"instruction": row.instruction, "input": row.input, "output": row.output} for row in rows]


def test_the_dataset_does_not_depend_on_concurrency(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    results = []
    for in_flight in (1, 8, 32):
        with ScriptedServer(delay=jitter if in_flight > 1 else lambda prompt: 0.0) as server:
            config = experiment(tmp_path, tiny_base, server.url, seeds, name=f"at-{in_flight}", in_flight=in_flight)
            results.append(generate(config))
            assert len(server.asked) <= len(set(server.asked)) + 2
    assert results[0] == results[1] == results[2]


def test_a_finished_run_is_not_repeated(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        first, asked = generate(config), len(server.asked)
        assert generate(config) == first
        assert len(server.asked) == asked


def test_a_higher_target_goes_on_from_the_same_answers(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=40))
        longer = generate(experiment(tmp_path, tiny_base, server.url, seeds, target=120))
        direct = generate(experiment(tmp_path, tiny_base, server.url, seeds, target=120, name="direct"))
    assert longer == direct


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
def test_a_full_disk_is_told_and_costs_no_answer(
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
        assert read_manifest(config.run_dir)["stages"]["generate"]["status"] == "failed"
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


def stop_at(limit: dict[str, Any]) -> dict[str, Any]:
    return {"target": 10_000, "budget": limit}


@pytest.mark.parametrize(
    ("limit", "reason"), [({"requests": 7}, "requests"), ({"tokens": 12_000}, "tokens"), ({"seconds": 0.5}, "seconds")]
)
def test_each_budget_stops_the_run_and_says_so(
    tmp_path: Path, tiny_base: Path, seeds: Path, limit: dict[str, Any], reason: str
) -> None:
    with ScriptedServer(delay=jitter) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, **stop_at(limit))
        first = generate(config)
        assert stats_of(config)["stopped_by"] == reason
        if reason != "seconds":
            alone = experiment(tmp_path, tiny_base, server.url, seeds, name="alone", in_flight=1, **stop_at(limit))
            assert generate(alone) == first
    if reason == "requests":
        assert len(read_responses(config.run_dir / "dataset" / "responses.jsonl")) == 7


def test_money_is_seconds_times_the_price(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(delay=lambda prompt: 0.02) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, **stop_at({"money": 1.0}))
        engine = config.engine.model_copy(update={"price_per_gpu_hour": 3600.0 * 2, "data_parallel": 2})
        config = config.model_copy(update={"engine": engine})
        generate(config)
    stats = stats_of(config)
    # Two GPUs at 2 a second each: a budget of 1 is a quarter of a second.
    assert stats["stopped_by"] == "money"
    assert 0.25 <= stats["seconds"] < 2
    assert stats["cost"]["total"] == pytest.approx(4 * stats["seconds"], rel=0.01)


def test_a_low_yield_stops_the_run(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    """One good task, then the same list of fifty for ever."""
    same = "###\n".join(f"{number}. Instruction: Sing it again\n{number}. Output:\nNo.\n" for number in range(4, 54))
    text = same.removeprefix("4. Instruction:").replace("again", "again now", 1)
    with ScriptedServer(answer=lambda prompt, seed: (text, "stop")) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, **stop_at({"min_acceptance": 0.01}))
        generate(config)
    stats = stats_of(config)
    assert (stats["stopped_by"], stats["funnel"]["items"], stats["funnel"]["accepted"]) == ("min_acceptance", 2000, 1)


def test_a_run_that_keeps_nothing_is_an_error_that_names_the_reasons(
    tmp_path: Path, tiny_base: Path, seeds: Path
) -> None:
    with ScriptedServer(answer=lambda prompt, seed: ("gibberish", "stop")) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, budget={"requests": 5})
        with pytest.raises(RunError, match=r"not one of 5 items was accepted \(left out: incomplete 5\)"):
            generate(config)
    assert stats_of(config)["stopped_by"] == "requests"


def test_an_answer_gets_the_room_that_the_context_leaves(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(max_model_len=1600) as server:
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=10))
        assert server.bodies
        for body in server.bodies:
            assert body["max_tokens"] == 1600 - len(body["prompt"]) < 3072


def test_seeds_that_fit_are_drawn_when_others_do_not(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    huge = {"id": "huge", "name": "huge", "instruction": "Tell a long story.", "is_classification": False}
    row = huge | {"instances": [{"input": "", "output": "word " * 900}]}
    seeds.write_text(seeds.read_text(encoding="utf-8") + json.dumps(row) + "\n", encoding="utf-8")
    with ScriptedServer(max_model_len=1600) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=100)
        generate(config)
    shown = {
        id
        for answer in read_responses(config.run_dir / "dataset" / "responses.jsonl").values()
        for id in answer.sampled
    }
    assert "huge" not in shown
    assert len(shown) > 6


def test_a_context_too_small_for_any_prompt_is_told_with_advice(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(max_model_len=700) as server:
        with pytest.raises(ConfigError, match=r"generate\.seeds_per_request: the shortest of 200 prompts") as failure:
            generate(experiment(tmp_path, tiny_base, server.url, seeds))
        assert not server.asked
    assert "max_model_len" in str(failure.value)


@pytest.mark.parametrize(("preset", "asked", "stop"), [("alpaca", 23, 24), ("alpaca-original", 20, 21)])
def test_presets_count_their_examples_as_published(
    tmp_path: Path, tiny_base: Path, seeds: Path, preset: str, asked: int, stop: int
) -> None:
    from pacos.models import load_tokenizer

    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=5, preset=preset)
        generate(config)
        body = server.bodies[0]
    prompt = load_tokenizer(str(tiny_base), config.model).decode(body["prompt"])
    assert f"List of {asked} tasks:" in prompt
    assert prompt.endswith("###\n4. Instruction:")
    assert body["stop"] == [f"\n{stop}. Instruction:"]


def test_a_seed_is_sent_per_request_only_where_asked_for(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=5))
        assert {body.get("seed") for body in server.bodies} == {None}
        server.bodies.clear()
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=5, name="seeded", sampling={"seed": 7}))
        assert min(body["seed"] for body in server.bodies) == 7


def test_another_experiment_seed_asks_other_prompts(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=5)
        generate(config)
        first = set(server.asked)
        generate(config.model_copy(update={"seed": 1, "name": "other"}))
        assert set(server.asked) - first


def test_a_missing_seed_file_stops_before_any_request(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer() as server, pytest.raises(DataError, match="no such file"):
        generate(experiment(tmp_path, tiny_base, server.url, tmp_path / "none.jsonl"))


def test_curate_repeats_a_runs_dataset_from_its_journal(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(delay=jitter) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds)
        made = generate(config)
    stats = curate(config.run_dir / "dataset" / "responses.jsonl", tmp_path / "again", config.generate)
    assert (tmp_path / "again" / "dataset.jsonl").read_bytes() == made["dataset.jsonl"]
    assert (tmp_path / "again" / "rejected.jsonl").read_bytes() == made["rejected.jsonl"]
    assert stats["funnel"] == stats_of(config)["funnel"]


def test_curate_takes_answers_from_elsewhere(tmp_path: Path, seeds: Path, tiny_base: Path) -> None:
    text, _ = list_answer((1, 2, 3), None)
    journal = tmp_path / "answers.jsonl"
    journal.write_text(json.dumps({"request": 3, "text": text, "finish_reason": "stop"}) + "\n", encoding="utf-8")
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", seeds)
    stats = curate(journal, tmp_path / "out", config.generate)
    assert stats["funnel"]["items"] == 8
    assert len(read_tasks(tmp_path / "out")) == stats["funnel"]["accepted"] > 0


def test_the_dataset_folder_loads_as_a_dataset(
    tmp_path: Path, tiny_base: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=30)
        generate(config)
    folder = str(config.run_dir / "dataset")
    loaded = datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 30
    assert loaded.column_names[:3] == ["instruction", "input", "output"]
    card = (config.run_dir / "dataset" / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(card.split("---\n")[1])
    assert header["size_categories"] == ["n<1K"]
    assert str(tiny_base) in card


def test_a_plan_names_seeds_and_estimates_and_starts_nothing(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", seeds, target=1200)
    lines = "\n".join(pipeline.plan(config))
    assert "12 tasks" in lines
    # 20 tasks asked for, 60 % accepted: 12 a request.
    assert "about 100 for 1,200 tasks" in lines
    assert not config.run_dir.exists()


def test_the_official_seeds_drive_a_run(shared_data: Path, tmp_path: Path, tiny_base: Path) -> None:
    official = shared_data / "self_instruct" / "seed_tasks.jsonl"
    with ScriptedServer(max_model_len=16_384) as server:
        config = experiment(tmp_path, tiny_base, server.url, official, target=60)
        generate(config)
    ids = {seed.id for seed in load_seeds(official)}
    journal = read_responses(config.run_dir / "dataset" / "responses.jsonl")
    assert all(len(answer.sampled) == 3 and ids.issuperset(answer.sampled) for answer in journal.values())


def test_the_real_engine_is_journaled_and_accounted_for(
    tmp_path: Path, tiny_base: Path, seeds: Path, live_engine_config: EngineConfig
) -> None:
    """Random weights write no task; what they wrote is in the journal and the ledger all the same."""
    sampling = {"max_tokens": 64}
    config = experiment(tmp_path, tiny_base, "", seeds, budget={"requests": 24}, sampling=sampling)
    engine = live_engine_config.model_copy(update={"max_in_flight": 8})
    config = config.model_copy(update={"engine": engine})
    with pytest.raises(RunError, match="not one of"):
        generate(config)
    folder = config.run_dir / "dataset"
    journal = read_responses(folder / "responses.jsonl")
    assert sorted(journal) == list(range(24))
    assert all(answer.prompt_tokens > 800 and 0 < answer.completion_tokens <= 64 for answer in journal.values())
    stats = stats_of(config)
    assert stats["funnel"]["items"] == len(read_records(folder / "rejected.jsonl", Rejection)) >= 24
    assert stats["tokens"]["prompt"] == sum(answer.prompt_tokens for answer in journal.values())
    assert stats["tokens_per_second"] > 0


def schedule(
    ask: Callable[[int], Any],
    *,
    requests: int,
    window: int,
    in_flight: int,
    answered: dict[int, Response] | None = None,
) -> list[int]:
    """The requests committed, in order."""
    known = answered if answered is not None else {}
    committed: list[int] = []

    def commit(answer: Response) -> bool:
        committed.append(answer.request)
        return True

    def record(answer: Response) -> None:
        known[answer.request] = answer

    asyncio.run(
        asyncio.wait_for(
            ask_ahead(
                ask,
                answered=known,
                record=record,
                commit=commit,
                may_ask=lambda request: request < requests,
                window=window,
                in_flight=in_flight,
            ),
            timeout=20,
        )
    )
    return committed


def test_a_slow_answer_does_not_hold_the_queue() -> None:
    asked: list[int] = []
    release = asyncio.Event()

    async def ask(number: int) -> Response:
        asked.append(number)
        if len(asked) == 32:
            release.set()
        if number == 0:
            await release.wait()  # the first is answered after the 31 behind it were asked
        return Response(number, "", "stop")

    assert schedule(ask, requests=32, window=32, in_flight=4) == list(range(32))


def test_asking_never_runs_further_ahead_than_the_window() -> None:
    ahead: list[int] = []
    answered: dict[int, Response] = {}
    slow = time.monotonic() + 0.2

    async def ask(number: int) -> Response:
        ahead.append(number)
        if number == 0:
            await asyncio.sleep(slow - time.monotonic())
            assert max(ahead) == 9
        return Response(number, "", "stop")

    assert schedule(ask, requests=40, window=10, in_flight=4, answered=answered) == list(range(40))


def test_no_more_than_in_flight_are_asked_at_a_time() -> None:
    now = peak = 0

    async def ask(number: int) -> Response:
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.001)
        now -= 1
        return Response(number, "", "stop")

    schedule(ask, requests=50, window=50, in_flight=6)
    assert peak == 6


def test_an_interrupt_keeps_the_answers_that_came() -> None:
    known: dict[int, Response] = {}

    async def interrupted() -> None:
        everything = asyncio.current_task()
        assert everything is not None

        async def ask(number: int) -> Response:
            if number == 3:
                await asyncio.sleep(60)
            if number == 1:
                everything.cancel()  # 0, 1 and 2 come in the same moment, before anyone could look
            return Response(number, "", "stop")

        await ask_ahead(
            ask,
            answered=known,
            record=lambda answer: known.update({answer.request: answer}),
            commit=lambda answer: True,
            may_ask=lambda request: True,
            window=8,
            in_flight=4,
        )

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(interrupted())
    assert set(known) == {0, 1, 2}


def test_the_example_format_is_the_answer_format(seeds: Path) -> None:
    text = format_item(7, load_seeds(seeds)[0].task)
    assert text == "###\n7. Instruction: Say the number one aloud.\n7. Input:\n<noinput>\n7. Output:\none\n"
