"""Each published rule at its edge, and the presets against the published data."""

import gzip
import json
from pathlib import Path

import pytest

from pacos.config import FiltersConfig, GenerateConfig, LimitsConfig
from pacos.errors import DataError, RunError
from pacos.extensions import FILTER_PRESETS, PRESETS, load
from pacos.files import write_json
from pacos.generate.curate import filter_file
from pacos.generate.filtering import filters
from pacos.generate.filtering.defects import DEFECTS
from pacos.generate.filtering.filters import task_rules
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import Rule, first_broken_rule
from pacos.records import Rejection, Task, read_records, read_tasks
from pacos.results import read_result
from pacos.results.dataset import DatasetStats

PUBLISHED = {preset: FiltersConfig(preset=preset, defects=False) for preset in ("alpaca", "self-instruct")}


def reason(instruction: str, preset: str = "alpaca", **parts: str) -> str | None:
    return reason_under(PUBLISHED[preset], instruction, **parts)


def reason_under(filters: FiltersConfig, instruction: str, **parts: str) -> str | None:
    broken = first_broken_rule(Task(instruction, **{"output": "Yes.", **parts}), task_rules(filters))
    return broken.reason if broken else None


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Name three fruits", Reason.TOO_SHORT),
        ("Name three red fruits", None),
        (" ".join(["word"] * 150), None),
        (" ".join(["word"] * 151), Reason.TOO_LONG),
        ("Describe the IMAGE in words.", Reason.KEYWORD),
        ("Go to the shop and back.", Reason.KEYWORD),
        ("Explain what a filename is for.", None),
        ("Imagine a photograph of this.", None),
        ("Write a program that adds numbers.", Reason.WRITE_A_PROGRAM),
        ("Now Write a program that adds.", None),
        ("(Optional) Name three red fruits.", Reason.STARTS_WITH_PUNCTUATION),
        ("Éclairs are made how, exactly?", Reason.STARTS_NON_ASCII),
        ("2 and 2 make what number?", None),
    ],
)
def test_rules_of_both_presets(instruction: str, expected: Reason | None) -> None:
    assert reason(instruction) == expected
    assert reason(instruction, "self-instruct") == expected


@pytest.mark.parametrize("instruction", ["write a program that adds numbers.", "Write a Program that adds numbers."])
def test_self_instruct_refuses_programs_in_any_case_since_it_made_letters_small(instruction: str) -> None:
    assert reason(instruction) is None
    assert reason(instruction, "self-instruct") is Reason.WRITE_A_PROGRAM


@pytest.mark.parametrize(
    ("preset", "defects"), [("alpaca", True), ("alpaca-original", False), ("self-instruct", False)]
)
def test_the_published_presets_have_no_defect_detectors_unless_asked_for(preset: str, defects: bool) -> None:
    assert GenerateConfig.model_validate({"preset": preset}).filters.defects is defects
    asked = GenerateConfig.model_validate({"preset": preset, "filters": {"defects": True}}).filters
    assert reason_under(asked, "Tell me more about bees.", output="None") is Reason.PLACEHOLDER_OUTPUT


@pytest.mark.parametrize("word", ["video", "audio", "music", "flowchart", "diagram"])
def test_alpaca_added_five_keywords(word: str) -> None:
    assert reason(f"Make a {word} about bees.") is Reason.KEYWORD
    assert reason(f"Make a {word} about bees.", "self-instruct") is None


def test_rules_on_instances_belong_to_self_instruct_alone() -> None:
    copied = {"input": "same text", "output": "same text"}
    assert reason("Correct this short sentence.", "self-instruct", **copied) is Reason.OUTPUT_COPIES_INPUT
    assert reason("Correct this short sentence.", "self-instruct", output=" ") is Reason.EMPTY_OUTPUT
    assert reason("Correct this short sentence.", **copied) is None
    assert reason("Correct this short sentence.", output=" ") is None


def test_a_broken_rule_has_what_was_measured() -> None:
    broken = first_broken_rule(Task("Draw a map of it.", "", "No."), task_rules(PUBLISHED["alpaca"]))
    assert broken is not None
    assert broken.figures == {"keyword": "draw"}


def test_every_rule_of_every_preset_has_its_own_reason() -> None:
    for preset in PUBLISHED:
        reasons = [rule.reason for rule in task_rules(FiltersConfig(preset=preset))]
        assert len(set(reasons)) == len(reasons)


@pytest.mark.parametrize("table", [PRESETS, FILTER_PRESETS])
def test_every_preset_is_in_its_table_under_its_name(table: dict[str, str]) -> None:
    assert [load(table, name).name for name in table] == list(table)


def test_a_rule_of_ones_own_rejects_with_its_own_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_bees = Rule("bees", lambda task: {"at": task.instruction.index("bees")} if "bees" in task.instruction else None)
    monkeypatch.setattr(filters, "DEFECTS", (*DEFECTS, no_bees))
    tasks = write_tasks(tmp_path / "tasks.jsonl", ["Explain how bees see.", "Explain how owls hear."])
    assert filter_file(tasks, tmp_path / "out", None, FiltersConfig()).funnel.rejected == {"bees": 1}


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"input": "N/A."}, Reason.PLACEHOLDER_INPUT),
        ({"input": "None of them came."}, None),
        ({"output": "Yes. <noinput>"}, Reason.NO_INPUT_MARK_IN_OUTPUT),
        ({"output": " "}, Reason.EMPTY_OUTPUT),
        ({"output": "<no output>"}, Reason.PLACEHOLDER_OUTPUT),
        ({"output": "None of them came."}, None),
        ({"output": "Yes.\n12. Instruction: Name a bird."}, Reason.MERGED_TASKS),
        ({"output": "Yes.\n##\nNo."}, Reason.MERGED_TASKS),
        ({"output": "## Title\nText."}, None),
        ({"input": "https://example.org/story"}, Reason.INPUT_IS_A_LINK),
        ({"input": "See https://example.org/story for it."}, None),
        ({"input": "<img src='bee.png'>"}, Reason.INPUT_IS_AN_IMAGE),
        ({"input": "Bees.", "output": "Bees. "}, Reason.OUTPUT_COPIES_INPUT),
        ({"output": "Output: yes"}, Reason.LEAKED_LABEL),
        ({"output": "Here it is:"}, Reason.ENDS_WITH_COLON),
        ({"output": "Yes\x07"}, Reason.CONTROL_CHARACTERS),
        ({"output": "Yes\tand\nno"}, None),
        ({"output": "Your table has been booked."}, Reason.CLAIMS_AN_ACTION),
        ({"output": "It has been said."}, None),
    ],
)
def test_defects(parts: dict[str, str], expected: Reason | None) -> None:
    assert reason_under(FiltersConfig(), "Tell me more about bees.", **parts) == expected
    if expected:
        assert reason("Tell me more about bees.", **parts) is None, "the published Alpaca rules let it pass"


def test_limits_replace_the_published_ones_and_add_others() -> None:
    limits = LimitsConfig(min_instruction=2, max_instruction=5, max_input=2, max_output=1)
    filters = FiltersConfig(limits=limits)
    assert reason_under(filters, "Explain bees") is None
    assert reason_under(filters, "Explain") is Reason.TOO_SHORT
    assert reason_under(filters, "Explain to me how bees see") is Reason.TOO_LONG
    assert reason_under(filters, "Explain bees", input="red and blue") is Reason.INPUT_TOO_LONG
    assert reason_under(filters, "Explain bees", output="They see") is Reason.OUTPUT_TOO_LONG


def test_the_unicode_tokenizer_allows_instructions_in_any_script() -> None:
    assert reason("写一首关于春天的诗") is Reason.TOO_SHORT
    assert reason_under(FiltersConfig(tokenizer="unicode"), "写一首关于春天的诗") is None
    assert reason_under(FiltersConfig(tokenizer="unicode"), "写诗") is Reason.TOO_SHORT


def test_the_unicode_tokenizer_decides_novelty_too(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.jsonl", ["写一首关于春天的诗", "写一首关于秋天的诗"])
    stats = filter_file(tasks, tmp_path / "out", None, FiltersConfig(tokenizer="unicode"))
    assert stats.funnel.rejected == {"novelty": 1}


def test_defects_of_the_released_alpaca_set(shared_data: Path) -> None:
    """Counts made apart from this code, on all 52,002 rows, with the detectors' published patterns."""
    with gzip.open(shared_data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
        tasks = [Task(**json.loads(row)) for row in rows]
    found = {rule.reason: sum(rule.check(task) is not None for task in tasks) for rule in DEFECTS}
    counted: dict[str, int] = {
        Reason.NO_INPUT_MARK_IN_OUTPUT: 60,
        Reason.EMPTY_OUTPUT: 28,
        Reason.INPUT_IS_AN_IMAGE: 39,
        Reason.OUTPUT_COPIES_INPUT: 55,
        Reason.LEAKED_LABEL: 22 + 8,
        Reason.ENDS_WITH_COLON: 45,
        Reason.CONTROL_CHARACTERS: 2,
    }
    assert {reason: found[reason] for reason in counted} == counted


def test_the_published_rules_keep_all_of_the_released_alpaca_set(shared_data: Path) -> None:
    """It is their output: what `generate_instruction.py` kept of text-davinci-003's answers."""
    with gzip.open(shared_data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
        tasks = [Task(**json.loads(row)) for row in rows]
    rules = task_rules(GenerateConfig.model_validate({"preset": "alpaca-original"}).filters)
    assert len(tasks) == 52_002
    assert [task for task in tasks if first_broken_rule(task, rules)] == []


def write_tasks(path: Path, instructions: list[str]) -> Path:
    rows = [{"instruction": text, "input": "", "output": "Yes."} for text in instructions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_filter_keeps_the_first_of_near_copies_and_names_the_other(tmp_path: Path) -> None:
    tasks = write_tasks(
        tmp_path / "tasks.jsonl",
        ["Name four kinds of red fruit.", "Hello there", "Name five kinds of red fruit.", "Explain how bees see."],
    )
    stats = filter_file(tasks, tmp_path / "out", None, PUBLISHED["alpaca"])
    kept = [task.instruction for task in read_tasks(tmp_path / "out")]
    short, near = read_records(tmp_path / "out" / "rejected.jsonl", Rejection)
    assert kept == ["Name four kinds of red fruit.", "Explain how bees see."]
    assert (short.reason, short.item, json.loads(short.values)) == ("too_short", 2, {"words": 2})
    # 5 of 6 words in common on both sides.
    assert (near.reason, near.nearest_id) == ("novelty", "row-000001")
    assert near.nearest_rougeL == pytest.approx(5 / 6)
    assert json.loads(near.raw)["instruction"] == "Name five kinds of red fruit."
    assert stats.funnel.rejected == {"too_short": 1, "novelty": 1}


def test_filter_compares_with_the_seeds_where_given(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seed = {"id": "s", "name": "n", "instruction": "Explain how bees see.", "is_classification": False}
    seeds.write_text(json.dumps(seed | {"instances": [{"input": "", "output": "Well."}]}) + "\n", encoding="utf-8")
    tasks = write_tasks(tmp_path / "tasks.jsonl", ["Explain how bees see."])
    assert filter_file(tasks, tmp_path / "out", seeds, PUBLISHED["alpaca"]).funnel.accepted == 0


def test_filter_never_writes_over_what_it_reads(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "dataset.jsonl", ["Explain how bees see."])
    with pytest.raises(RunError, match="read from"):
        filter_file(tasks, tmp_path, None, PUBLISHED["alpaca"])
    assert read_tasks(tasks)


def test_filter_of_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks\.jsonl: no such file"):
        filter_file(tmp_path / "tasks.jsonl", tmp_path / "out", None, PUBLISHED["alpaca"])


def test_the_published_filter_keeps_its_own_output(shared_data: Path, tmp_path: Path) -> None:
    """The first 6,000 of the 52,002 published rows; all of them take a minute (see benchmarks/)."""
    with gzip.open(shared_data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
        head = [next(rows) for _ in range(6000)]
    published = tmp_path / "alpaca.jsonl"
    published.write_text("".join(head), encoding="utf-8")
    stats = filter_file(
        published, tmp_path / "out", shared_data / "self_instruct" / "seed_tasks.jsonl", PUBLISHED["alpaca"]
    )
    assert stats.funnel.accepted == 6000


def test_stats_that_an_earlier_version_wrote_are_readable(tmp_path: Path) -> None:
    write_json(tmp_path / "stats.json", {"funnel": {"requests": 2, "items": 40, "accepted": 9}, "stopped_by": "end"})
    stats = read_result(tmp_path / "stats.json", DatasetStats, todo="generate again")
    assert (stats.funnel.items, stats.funnel.instances, stats.tokens.prompt) == (40, 0, 0)
