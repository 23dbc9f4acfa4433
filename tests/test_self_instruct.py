"""Preset self-instruct: its prompts and parsers, and the three phases against a scripted server and the real vLLM."""

import hashlib
import json
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, EngineConfig, FiltersConfig, load_config, parse_config
from pacos.generate import classify, instances, pipeline
from pacos.generate.curate import curate
from pacos.generate.filters import task_rules
from pacos.generate.instructions import instructions_prompt, instructions_stops, parse_instructions
from pacos.generate.journal import read_responses
from pacos.generate.preparation import prepare
from pacos.generate.reasons import Reason
from pacos.generate.seeds import load_seeds, seeds_path
from pacos.models import load_tokenizer
from pacos.records import DatasetRow, Rejection, read_records
from pacos.runs import Run
from tests.scripted_server import Prompt, ScriptedServer

ROOT = Path(__file__).resolve().parents[1]
SYLLABLES = ("ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru")
DATA = ("dataset.jsonl", "rejected.jsonl")

RULES = task_rules(FiltersConfig(preset="self-instruct", defects=False))


class Teacher:
    """Answers each of the three questions as a pure function of its prompt, with a slip here and there."""

    def __init__(self, base: Path) -> None:
        self.tokenizer = load_tokenizer(
            str(base), parse_config({"name": "t", "model": {"base": str(base)}}, where="").model
        )

    def __call__(self, prompt: Prompt, seed: int | None) -> tuple[str, str]:
        text = self.tokenizer.decode(list(prompt), skip_special_tokens=True)
        draw = hashlib.sha256(text.encode()).digest()
        if text.endswith("classification?"):
            return (" Yes" if draw[0] % 3 == 0 else " No" if draw[0] % 3 == 1 else " Perhaps"), "stop"
        if text.endswith("\n"):
            return self._instances(text.startswith("For each classification task"), draw)
        lines = [
            "".join(SYLLABLES[byte % 10] + " " * (byte % 2) for byte in draw[item : item + 12]) for item in range(7)
        ]
        return "\n".join(
            [f" describe {lines[0]}.", *(f"{n}. Name {line}" for n, line in enumerate(lines[1:], 10))]
        ), "stop"

    def _instances(self, label_first: bool, draw: bytes) -> tuple[str, str]:
        if label_first:
            return f"Class label: yes\nNumber: {draw[1]}\nClass label: no\nNumber: {draw[1] + 256}\n", "stop"
        text = f"Example 1\nText: {draw[1]}\nOutput: a {draw[2]}\nExample 2\nText: {draw[3]}\nOutput:"
        return text + (" b" if draw[4] % 2 else ""), "length" if draw[5] % 4 == 0 else "stop"


def experiment(
    tmp_path: Path, base: Path, url: str, *, name: str = "run", in_flight: int = 8, **generate: Any
) -> Config:
    values = {
        "name": name,
        "runs_dir": str(tmp_path / "runs"),
        "model": {"base": str(base)},
        "engine": {"url": url, "max_in_flight": in_flight},
        "generate": {"preset": "self-instruct", "target": 60, "window": 8, **generate},
    }
    return parse_config(values, where="test")


def run(config: Config) -> dict[str, bytes]:
    with Run.open(config) as directory:
        pipeline.main(config, directory)
    return {name: (config.run_dir / "dataset" / name).read_bytes() for name in DATA}


def jitter(prompt: Prompt) -> float:
    return hashlib.sha256(repr(prompt).encode()).digest()[0] / 6000


def test_the_preset_brings_the_papers_settings_and_the_file_overrides_them() -> None:
    values = {"name": "a", "model": {"base": "x"}, "generate": {"preset": "self-instruct", "sampling": {"top_p": 0.9}}}
    generate = parse_config(values, where="test").generate
    lists, kind, examples = generate.sampling, generate.classify, generate.instances
    assert (lists.temperature, lists.top_p, lists.presence_penalty, lists.max_tokens) == (0.7, 0.9, 2.0, 1024)
    assert (kind.temperature, kind.presence_penalty, kind.max_tokens) == (0.0, 0.0, 3)
    assert (examples.temperature, examples.presence_penalty, examples.max_tokens) == (0.0, 1.5, 300)
    assert (generate.seeds_per_request, generate.machine_per_request, generate.filters.preset) == (
        6,
        2,
        "self-instruct",
    )


def test_the_shots_are_as_many_as_published() -> None:
    answers = Counter(block.rpartition(" ")[2] for block in classify.SHOTS.blocks)
    assert answers == {"Yes": 12, "No": 19}
    assert (len(instances.OUTPUT_FIRST.blocks), len(instances.INPUT_FIRST.blocks)) == (16, 11)


@pytest.mark.parametrize("kind", ["yes", "no"])
def test_every_shot_reads_as_the_instances_it_shows(kind: Any) -> None:
    for block in instances.shots_for(kind).blocks:
        task, _, body = block.partition("\n")
        verdicts = prepare(instances.parse_instances(task.removeprefix("Task: "), kind, body, "stop"), RULES)
        assert [verdict.reason for verdict in verdicts] == [None] * max(
            1, body.count("Class label:"), body.count("Example ")
        )


def test_the_list_prompt_stops_inside_the_next_item() -> None:
    assert instructions_prompt(["Name a\n lake:", "Say hi."]).endswith("\n1. Name a lake\n2. Say hi.\n3.")
    assert instructions_stops(15, chat=False) == ["\n\n", "\n16."]
    assert instructions_stops(15, chat=True) == ["\n16."]


def test_instructions_are_read_over_line_breaks_and_keep_their_capitals() -> None:
    text = " explain what Python\nis good for.\n10. 3 apples cost 16. What does one cost?\n**11.** Sort the list:\n12."
    items = parse_instructions(text, "stop")
    assert [item.task.instruction if item.task else item.reason for item in items] == [
        "Explain what Python is good for.",
        "3 apples cost 16. What does one cost?",
        "Sort the list",
        Reason.NO_INSTRUCTION,
    ]
    assert parse_instructions("\n9. A b c.\n10. D e", "length")[-1].reason is Reason.INCOMPLETE
    assert [item.raw for item in parse_instructions("9. A b c.\n10. D e", "stop")] == ["A b c.", "D e"]


@pytest.mark.parametrize(
    ("text", "kind"), [(" Yes\n", "yes"), ("**No.**", "no"), (" NO, it", "no"), ("Not", "unknown"), ("", "unknown")]
)
def test_the_answer_on_classification(text: str, kind: str) -> None:
    assert classify.parse_kind(text) == kind


def read(kind: Any, text: str, finish_reason: str = "stop") -> list[Any]:
    """(input, output) of what is kept, else the reason."""
    verdicts = prepare(instances.parse_instances("Do it with care.", kind, text, finish_reason), RULES)
    return [
        (parsed.task.input, parsed.task.output) if parsed.task and not reason else str(reason)
        for parsed, reason in verdicts
    ]


def test_instances_are_read_and_judged_by_the_papers_rules() -> None:
    assert read("no", "Output: An Example of\nExample 7 stays.") == [("", "An Example of\nExample 7 stays.")]
    assert read("no", "Example 1\nInput: a\nOutput: b\nInput: c\nOutput: d") == [("a", "b")]
    assert read("no", "Example 1\nA: x\nOutput: y\nExample 2\nA: z\nOutput: cu", "length") == [
        ("A: x", "y"),
        "incomplete",
    ]
    assert read("no", "nothing here") == ["no_instance"]
    assert read("no", "Example 1\nA: x\nOutput:\nExample 2\nsame\nOutput: same\nExample 3\nA:\nOutput: y") == [
        "empty_output", "output_copies_input", "ends_with_colon",
    ]  # fmt: skip
    assert read("yes", "Class label: up\nWord: rise\nClass label: down") == [("Word: rise", "up"), ("", "down")]


def test_one_input_with_two_outputs_condemns_all_and_a_repeated_one_itself() -> None:
    assert read("yes", "Class label: a\nx\nClass label: b\nx\nClass label: c\nz") == ["contradictory"] * 3
    assert read("yes", "Class label: a\nClass label: b\nClass label: a") == [("", "a"), ("", "b"), "duplicate"]
    many = "".join(f"Class label: {number}\nword {number}\n" for number in range(7))
    assert read("yes", many)[5:] == ["past_five"] * 2


def test_the_dataset_depends_neither_on_concurrency_nor_on_a_stop(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer(answer=Teacher(tiny_base), delay=jitter) as server:
        whole = run(experiment(tmp_path, tiny_base, server.url, name="whole", in_flight=1))
        stopped = experiment(tmp_path, tiny_base, server.url, name="stopped")
        server.status = lambda arrival: 400 if arrival % 40 == 0 else 200
        for _ in range(20):
            try:
                again = run(stopped)
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
        made = run(config)
    journal = config.run_dir / "dataset" / "responses.jsonl"
    curate(journal, tmp_path / "again", config.generate)
    assert {name: (tmp_path / "again" / name).read_bytes() for name in DATA} == made
    lines = journal.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = next(line for line in lines if '"phase": "instances"' in line)
    journal.write_text("".join(line for line in lines if line != gone), encoding="utf-8")
    stats = curate(journal, tmp_path / "pending", config.generate)
    pending = [
        row for row in read_records(tmp_path / "pending" / "rejected.jsonl", Rejection) if row.reason == "pending"
    ]
    assert [f"{row.request:06d}-{row.item:02d}" for row in pending] == [json.loads(gone)["key"]]
    assert stats["funnel"]["rejected"]["pending"] == 1


@pytest.mark.parametrize(("limit", "reason"), [({"requests": 90}, "requests"), ({"tokens": 60_000}, "tokens")])
def test_a_budget_stops_at_the_same_task_at_any_concurrency(
    tmp_path: Path, tiny_base: Path, limit: dict[str, int], reason: str
) -> None:
    with ScriptedServer(answer=Teacher(tiny_base), delay=jitter) as server:
        both = [
            run(experiment(tmp_path, tiny_base, server.url, name=f"at-{n}", in_flight=n, target=9000, budget=limit))
            for n in (1, 8)
        ]
    assert both[0] == both[1]
    assert f'"stopped_by": "{reason}"' in (tmp_path / "runs" / "at-8" / "dataset" / "stats.json").read_text()


def test_tokens_have_a_price(tmp_path: Path, tiny_base: Path) -> None:
    with ScriptedServer(answer=Teacher(tiny_base)) as server:
        config = experiment(tmp_path, tiny_base, server.url, target=20)
        price = {"prompt": 10.0, "completion": 1000.0}
        engine = EngineConfig.model_validate(config.engine.model_dump() | {"price_per_million_tokens": price})
        run(config.model_copy(update={"engine": engine}))
    stats = json.loads((config.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8"))
    tokens = stats["tokens"]
    assert stats["cost"]["total"] == pytest.approx(tokens["prompt"] / 1e5 + tokens["completion"] / 1e3, abs=1e-3)


def test_a_chat_model_is_shown_the_prompt_and_opens_with_the_next_label(tmp_path: Path, tiny_base: Path) -> None:
    from pacos.generate.request import RequestMaker

    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1")
    config = config.model_copy(update={"model": config.model.model_copy(update={"chat": True})})
    tokenizer = load_tokenizer(str(tiny_base), config.model)
    tokenizer.chat_template = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}[end]{% endfor %}[assistant]"
    request = RequestMaker(config, load_seeds(seeds_path(None)), tokenizer, 4096).make(0)
    text = tokenizer.decode(request.prompt_ids)
    assert text.startswith("[user]Write a series")
    assert text.endswith("[end][assistant]9.")
    assert request.sampling.stop == ("\n16.",)


@pytest.mark.parametrize("name", ["alpaca", "self-instruct"])
def test_the_full_runs_do_every_stage_and_can_be_planned(name: str) -> None:
    script, file = str(ROOT / "scripts" / name), f"configs/{name}-7b-lora.yaml"
    ended = subprocess.run(
        [script, "--dry-run", "seed=7"], env=os.environ | {"PACOS": "echo"}, capture_output=True, text=True, check=True
    )
    stages = [f"{stage} --config {file} --dry-run seed=7" for stage in ("generate", "train", "evaluate")]
    assert ended.stdout.splitlines() == stages
    config = load_config(ROOT / file)
    plan = "\n".join(pipeline.plan(config))
    assert "per 1,000 accepted tasks" in plan
    # 7 asked for, 60 % accepted: 4 a list; 52,445 instructions are 13,112 lists and twice 52,445 requests about them.
    assert "about 118,002 for 52,445 instructions" in plan or name == "alpaca"
