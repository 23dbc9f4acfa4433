"""The generation stage against a scripted server, and once against the real vLLM."""

import asyncio
import io
import json
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.errors import ConfigError, DataError, RunError
from pacos.generate import pipeline
from pacos.generate.curate import curate
from pacos.generate.journal import read_responses
from pacos.generate.prompting.alpaca import format_item
from pacos.generate.prompting.request import RequestMaker
from pacos.models import load_tokenizer
from pacos.records import DatasetRow, Rejection, read_records, read_tasks
from pacos.results import plain
from pacos.results.manifest import read_manifest
from pacos.seeds import load_seeds
from pacos.serving.completion import Sampling
from pacos.serving.connect import open_engine
from tests.support.generated_run import experiment, generate, jitter, stats_of
from tests.support.scripted_server import Prompt, ScriptedServer, list_answer


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
    manifest = read_manifest(config.run_dir).stages["generate"]
    assert (manifest.status, manifest.tokens) == ("done", stats["tokens"])
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


def test_a_higher_target_reuses_the_same_answers(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        generate(experiment(tmp_path, tiny_base, server.url, seeds, target=40))
        longer = generate(experiment(tmp_path, tiny_base, server.url, seeds, target=120))
        direct = generate(experiment(tmp_path, tiny_base, server.url, seeds, target=120, name="direct"))
    assert longer == direct


def test_an_answer_may_fill_the_rest_of_the_context(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
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


def test_a_context_too_small_for_any_prompt_is_an_error(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(max_model_len=700) as server:
        with pytest.raises(ConfigError, match=r"generate\.seeds_per_request: the shortest of 200 prompts") as failure:
            generate(experiment(tmp_path, tiny_base, server.url, seeds))
        assert not server.asked
    assert "max_model_len" in str(failure.value)


@pytest.mark.parametrize(("preset", "asked", "stop"), [("alpaca", 23, 24), ("alpaca-original", 20, 21)])
def test_presets_count_their_examples_as_published(
    tmp_path: Path, tiny_base: Path, seeds: Path, preset: str, asked: int, stop: int
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=5, preset=preset)
        generate(config)
        body = server.bodies[0]
    prompt = load_tokenizer(str(tiny_base), config.model).decode(body["prompt"])
    assert f"List of {asked} tasks:" in prompt
    assert prompt.endswith("###\n4. Instruction:")
    assert body["stop"] == [f"\n{stop}. Instruction:"]


@pytest.mark.parametrize(
    ("settings", "forbidden"),
    [
        ({"preset": "alpaca"}, False),
        ({"preset": "alpaca-original"}, True),
        ({"preset": "alpaca-original", "forbid_eos": False}, False),
        ({"preset": "alpaca", "forbid_eos": True}, True),
    ],
)
def test_alpaca_original_forbids_end_of_text_while_a_list_is_written(
    tmp_path: Path, tiny_base: Path, seeds: Path, settings: dict[str, Any], forbidden: bool
) -> None:
    """stanford_alpaca sends logit_bias {"50256": -100}, GPT-3's <|endoftext|>."""
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, target=5, **settings)
        generate(config)
    eos = load_tokenizer(str(tiny_base), config.model).eos_token_id
    expected = {str(eos): -100} if forbidden else None
    assert all(body.get("logit_bias") == expected for body in server.bodies)
    assert all(body["stop"] and body["max_tokens"] for body in server.bodies), "which end the answer"


def test_a_sampling_seed_is_sent_only_if_configured(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
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


def test_tasks_of_a_known_dataset_are_not_novel(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer() as server:
        first = experiment(tmp_path, tiny_base, server.url, seeds, name="first", target=30)
        generate(first)
        known = str(first.run_dir / "dataset")
        second = experiment(tmp_path, tiny_base, server.url, seeds, name="second", target=30, known=[known])
        generate(second)
    earlier, later = (read_tasks(config.run_dir / "dataset") for config in (first, second))
    assert len(later) == 30 and not {task.instruction for task in earlier} & {task.instruction for task in later}
    rejections = read_records(second.run_dir / "dataset" / "rejected.jsonl", Rejection)
    assert sum(one.nearest_id.startswith("first/dataset:") for one in rejections) >= 30
    curate(second.run_dir / "dataset" / "responses.jsonl", tmp_path / "again", second.generate)
    assert read_tasks(tmp_path / "again") == later


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
    assert plain(stats.funnel) == stats_of(config)["funnel"]


def test_curate_accepts_answers_from_elsewhere(tmp_path: Path, seeds: Path, tiny_base: Path) -> None:
    text, _ = list_answer((1, 2, 3), None)
    journal = tmp_path / "answers.jsonl"
    journal.write_text(json.dumps({"request": 3, "text": text, "finish_reason": "stop"}) + "\n", encoding="utf-8")
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", seeds)
    stats = curate(journal, tmp_path / "out", config.generate)
    assert stats.funnel.items == 8
    assert len(read_tasks(tmp_path / "out")) == stats.funnel.accepted > 0


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


def test_a_run_with_the_official_seeds(shared_data: Path, tmp_path: Path, tiny_base: Path) -> None:
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
    """Random weights write no task, but what they wrote is in the journal and in rejected.jsonl."""
    sampling = {"max_tokens": 64}
    url = str(live_engine_config.url)
    config = experiment(tmp_path, tiny_base, url, seeds, budget={"requests": 24}, sampling=sampling)
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


def test_the_real_engine_ends_an_answer_at_its_stop_string_or_limit_where_end_of_text_is_forbidden(
    tmp_path: Path, tiny_base: Path, live_engine_config: EngineConfig
) -> None:
    """Random weights draw any of some 500 ids, end-of-text among them."""
    config = Config(name="x", model=ModelConfig(base=str(tiny_base), dtype="float32"), engine=live_engine_config)

    async def work() -> list[Counter[str]]:
        async with open_engine(config, tmp_path) as engine:
            eos = engine.tokenizer.eos_token_id

            async def endings(stop: tuple[str, ...], forbidden: tuple[int, ...]) -> Counter[str]:
                samplings = [Sampling(900, 1.0, stop=stop, seed=seed, forbidden=forbidden) for seed in range(8)]
                answers = await asyncio.gather(*(engine.complete([1, 30], sampling) for sampling in samplings))
                return Counter(answer.finish_reason for answer in answers)

            return [await endings((), ()), await endings((), (eos,)), await endings((" ",), (eos,))]

    free, forbidden, stopped = asyncio.run(work())
    assert free["stop"] and forbidden == {"length": 8} and stopped == {"stop": 8}


def test_progress_shows_what_is_in_flight_before_anything_is_committed(
    tmp_path: Path, tiny_base: Path, seeds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Request 0 is answered when the bar has shown all others, and nothing can be committed before it."""
    terminal, seen = Terminal(), threading.Event()
    monkeypatch.setattr("sys.stderr", terminal)
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, in_flight=8, target=30)
        tokenizer = load_tokenizer(config.model.base, config.model)
        first = tuple(RequestMaker(config, load_seeds(seeds), tokenizer, server.max_model_len).make(0).prompt_ids)

        def delay(prompt: Prompt) -> float:
            deadline = time.monotonic() + 60
            while prompt == first and not seen.is_set() and time.monotonic() < deadline:
                if any(map(all_but_one_answered, terminal.lines())):
                    seen.set()
                time.sleep(0.05)
            return 0.0

        server.delay = delay
        generate(config)
    assert seen.is_set(), terminal.lines()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        return self.getvalue().split("\r")


def all_but_one_answered(line: str) -> bool:
    """Of a window of 32."""
    return "| 0/30 " in line and "in flight=1," in line and "answers=31" in line


def test_the_example_format_is_the_answer_format(seeds: Path) -> None:
    text = format_item(7, load_seeds(seeds)[0].task)
    assert text == "###\n7. Instruction: Say the number one aloud.\n7. Input:\n<noinput>\n7. Output:\none\n"
