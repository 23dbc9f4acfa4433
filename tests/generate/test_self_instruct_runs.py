"""Runs with preset self-instruct: its three phases against a scripted server, and against the real vLLM."""

import hashlib
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig
from pacos.errors import RunError
from pacos.generate.curate import curate
from pacos.generate.journal import read_responses
from pacos.generate.prompting.request import RequestMaker
from pacos.models import load_tokenizer
from pacos.records import DatasetRow, Rejection, read_records
from pacos.seeds import load_seeds, seeds_path
from tests.support import generated_run
from tests.support.generated_run import derived, generate, jitter
from tests.support.killed_run import ROOT, generate_command, run_until_arrival
from tests.support.scripted_server import ScriptedServer
from tests.support.scripted_teacher import Teacher

DATA = ("dataset.jsonl", "rejected.jsonl")  # what a journal alone gives


def experiment(tmp_path: Path, base: Path, url: str, *, seeds: Path | None = None, **settings: Any) -> Config:
    defaults: dict[str, Any] = {"preset": "self-instruct", "target": 60, "window": 8}
    return generated_run.experiment(tmp_path, base, url, seeds, **defaults | settings)


def test_the_dataset_depends_neither_on_concurrency_nor_on_a_stop(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer(answer=Teacher(tiny_base), delay=jitter) as server:
        whole = generate(experiment(tmp_path, tiny_base, server.url, name="whole", in_flight=1))
        stopped = experiment(tmp_path, tiny_base, server.url, name="stopped")
        server.status = lambda arrival: 400 if arrival % 40 == 0 else 200
        for _ in range(20):
            try:
                again = generate(stopped)
                break
            except Exception as failure:
                assert "scripted failure 400" in str(failure)
        journal = read_responses(stopped.run_dir / "dataset" / "responses.jsonl")
    assert again == whole
    rows = read_records(stopped.run_dir / "dataset" / "dataset.jsonl", DatasetRow)
    assert len({row.instruction_id for row in rows}) > 40
    assert {row.is_classification for row in rows} == {"yes", "no", "unknown"}
    funnel = json.loads((stopped.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8"))["funnel"]
    rejected = read_records(stopped.run_dir / "dataset" / "rejected.jsonl", Rejection)
    assert funnel["instructions"] == 60
    assert funnel["items"] + funnel["instances"] == funnel["instructions"] + len(rows) + len(rejected)
    machine = [answer for answer in journal.values() if any(re.match(r"\d{6}-", id) for id in answer.sampled)]
    assert all(len(answer.sampled) == 8 for answer in journal.values())
    assert {sum(id[:4] != "seed" for id in answer.sampled) for answer in machine} == {2}
    assert {answer.request >= 8 for answer in machine} == {True}


def test_curate_repeats_the_run_and_lists_what_was_never_asked_as_pending(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer(answer=Teacher(tiny_base)) as server:
        config = experiment(tmp_path, tiny_base, server.url)
        made = generate(config)
    journal = config.run_dir / "dataset" / "responses.jsonl"
    curate(journal, tmp_path / "again", config.generate)
    assert {name: (tmp_path / "again" / name).read_bytes() for name in DATA} == {name: made[name] for name in DATA}
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = next(line for line in lines if '"phase": "instances"' in line)
    journal.write_text("".join(line for line in lines if line != gone), encoding="utf-8")
    stats = curate(journal, tmp_path / "pending", config.generate)
    pending = [
        row for row in read_records(tmp_path / "pending" / "rejected.jsonl", Rejection) if row.reason == "pending"
    ]
    assert [f"{row.request:06d}-{row.item:02d}" for row in pending] == [json.loads(gone)["key"]]
    assert stats.funnel.rejected["pending"] == 1


def test_self_rewarding_asks_for_instances_input_first_and_never_whether_it_is_classification(
    tmp_path: Path, tiny_base: Path
) -> None:
    teacher = Teacher(tiny_base)
    with ScriptedServer(answer=teacher) as server:
        config = experiment(tmp_path, tiny_base, server.url, preset="self-rewarding", target=20)
        made = generate(config)
        asked = [teacher.read(prompt) for prompt in server.asked]
    journal = read_responses(config.run_dir / "dataset" / "responses.jsonl")
    assert {answer.phase for answer in journal.everything()} == {"instructions", "instances"}
    assert not [text for text in asked if text.endswith("classification?") or text.startswith("For each classif")]
    rows = read_records(config.run_dir / "dataset" / "dataset.jsonl", DatasetRow)
    assert rows and {row.is_classification for row in rows} == {"unknown"}
    assert "all were given instances input first" in (config.run_dir / "dataset" / "README.md").read_text()
    curate(config.run_dir / "dataset" / "responses.jsonl", tmp_path / "again", config.generate)
    assert {name: (tmp_path / "again" / name).read_bytes() for name in DATA} == {name: made[name] for name in DATA}


@pytest.mark.parametrize(("limit", "reason"), [({"requests": 90}, "requests"), ({"tokens": 60_000}, "tokens")])
def test_a_budget_stops_at_the_same_task_at_any_concurrency(
    tmp_path: Path, tiny_base: Path, limit: dict[str, int], reason: str
) -> None:
    with ScriptedServer(answer=Teacher(tiny_base), delay=jitter) as server:
        both = [
            generate(
                experiment(tmp_path, tiny_base, server.url, name=f"at-{n}", in_flight=n, target=9000, budget=limit)
            )
            for n in (1, 8)
        ]
    assert both[0] == both[1]
    assert f'"stopped_by": "{reason}"' in (tmp_path / "runs" / "at-8" / "dataset" / "stats.json").read_text()


def test_tokens_have_a_price(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer(answer=Teacher(tiny_base)) as server:
        config = experiment(tmp_path, tiny_base, server.url, target=20)
        price = {"prompt": 10.0, "completion": 1000.0}
        engine = EngineConfig.model_validate(config.engine.model_dump() | {"price_per_million_tokens": price})
        generate(config.model_copy(update={"engine": engine}))
    stats = json.loads((config.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8"))
    tokens = stats["tokens"]
    assert stats["cost"]["total"] == pytest.approx(tokens["prompt"] / 1e5 + tokens["completion"] / 1e3, abs=1e-3)


def test_kill_9_and_the_same_command_give_the_same_bytes(tmp_path: Path, tiny_base: Path) -> None:
    teacher = Teacher(tiny_base)
    with ScriptedServer(answer=teacher, delay=jitter) as server:
        whole = generate(experiment(tmp_path, tiny_base, server.url, name="whole", in_flight=1))
        config = experiment(tmp_path, tiny_base, server.url, name="killed")
        command = generate_command(config, tmp_path)
        run_until_arrival(command, server, 70)
        answered = list(read_responses(config.run_dir / "dataset" / "responses.jsonl").everything())
        before = len(server.asked)
        subprocess.run(command, check=True, cwd=ROOT, capture_output=True)
        asked_later = {hashlib.sha256(teacher.read(prompt).encode()).hexdigest() for prompt in server.asked[before:]}
    assert {answer.phase for answer in answered} == {"instructions", "classify", "instances"}
    assert asked_later and not asked_later & {answer.prompt_sha256 for answer in answered}
    assert derived(config) == whole


@pytest.mark.parametrize(("limit", "reason"), [({"seconds": 2}, "seconds"), ({"money": 8}, "money")])
def test_time_and_money_stop_a_run_that_a_larger_budget_resumes(
    tmp_path: Path, tiny_base: Path, limit: dict[str, float], reason: str
) -> None:
    with ScriptedServer(answer=Teacher(tiny_base), delay=jitter) as server:
        whole = generate(experiment(tmp_path, tiny_base, server.url, name="whole"))
        config = experiment(tmp_path, tiny_base, server.url, target=9000, budget=limit)
        at_a_price = config.engine.model_copy(update={"price_per_gpu_hour": 4 * 3600.0})
        generate(config.model_copy(update={"engine": at_a_price}))
        stats = json.loads((config.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8"))
        again = generate(experiment(tmp_path, tiny_base, server.url))
    assert stats["stopped_by"] == reason
    assert 2 <= stats["seconds"] < 20
    assert stats["cost"]["total"] == pytest.approx(4 * stats["seconds"], rel=0.01)
    funnel = stats["funnel"]
    assert sum(stats["classification"].values()) + funnel["rejected"].get("pending", 0) == funnel["instructions"] > 0
    assert again == whole


def test_the_real_engine_is_asked_in_every_phase(
    tmp_path: Path, tiny_base: Path, seeds: Path, live_engine_config: EngineConfig
) -> None:
    """Random weights write no instances, but some of their text is accepted as an instruction and followed up."""
    config = experiment(
        tmp_path, tiny_base, "", seeds=seeds, budget={"requests": 60},
        sampling={"temperature": 1.0, "top_p": 1.0, "max_tokens": 256, "seed": 0}, instances={"max_tokens": 16},
    )  # fmt: skip
    config = config.model_copy(update={"engine": live_engine_config.model_copy(update={"max_in_flight": 8})})
    with pytest.raises(RunError, match=r"not one of .* no_instance"):
        generate(config)
    answers = list(read_responses(config.run_dir / "dataset" / "responses.jsonl").everything())
    most = {phase: max(one.completion_tokens for one in answers if one.phase == phase)
            for phase in ("instructions", "classify", "instances")}  # fmt: skip
    assert most["instructions"] > most["instances"] > most["classify"] > 0
    assert (most["instances"], most["classify"]) == (16, 3)
    stats = json.loads((config.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8"))
    assert stats["tokens"]["completion"] == sum(answer.completion_tokens for answer in answers)
    assert stats["funnel"]["instructions"] == stats["funnel"]["rejected"]["no_instance"] > 0


def test_a_chat_model_answer_begins_with_the_next_label(tmp_path: Path, tiny_base: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1")
    config = config.model_copy(update={"model": config.model.model_copy(update={"chat": True})})
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[end]{% endfor %}[assistant]"
    request = RequestMaker(config, load_seeds(seeds_path(None)), tokenizer, 4096).make(0)
    text = tokenizer.decode(request.prompt_ids)
    assert text.startswith("[user]Write a series")
    assert text.endswith("[end][assistant]9.")
    assert request.sampling.stop == ("\n16.",)


def test_only_lists_forbid_the_end_of_text(tmp_path: Path, tiny_base: Path) -> None:
    """The follow-ups end by themselves: Alpaca's `logit_bias` was for lists, and Self-Instruct had none."""
    with ScriptedServer(answer=Teacher(tiny_base)) as server:
        generate(experiment(tmp_path, tiny_base, server.url, target=10, forbid_eos=True))
    biased = {body["max_tokens"] for body in server.bodies if "logit_bias" in body}
    assert biased == {1024}
    assert {body["max_tokens"] for body in server.bodies} == {3, 300, 1024}
