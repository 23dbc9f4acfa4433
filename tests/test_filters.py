"""Each published rule at its edge, and the presets against the published data."""

import gzip
import json
from pathlib import Path

import pytest

from pacos.errors import DataError, RunError
from pacos.generate.curate import filter_file
from pacos.generate.filters import PRESETS, first_broken_rule
from pacos.generate.reasons import Reason
from pacos.records import Rejection, Task, read_records, read_tasks


def reason(instruction: str, preset: str = "alpaca", **parts: str) -> Reason | None:
    broken = first_broken_rule(Task(instruction, **{"output": "Yes.", **parts}), preset)
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
        ("write a program that adds numbers.", None),
        ("Now Write a program that adds.", None),
        ("(Optional) Name three red fruits.", Reason.STARTS_WITH_PUNCTUATION),
        ("Éclairs are made how, exactly?", Reason.STARTS_NON_ASCII),
        ("2 and 2 make what number?", None),
    ],
)
def test_rules_of_both_presets(instruction: str, expected: Reason | None) -> None:
    assert reason(instruction) == expected
    assert reason(instruction, "self-instruct") == expected


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


def test_a_verdict_carries_what_was_measured() -> None:
    broken = first_broken_rule(Task("Draw a map of it.", "", "No."), "alpaca")
    assert broken is not None
    assert broken.figures == {"keyword": "draw"}


def test_every_rule_of_every_preset_has_its_own_reason() -> None:
    for rules in PRESETS.values():
        reasons = [reason for reason, _ in rules]
        assert len(set(reasons)) == len(reasons)


def write_tasks(path: Path, instructions: list[str]) -> Path:
    rows = [{"instruction": text, "input": "", "output": "Yes."} for text in instructions]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_filter_keeps_the_first_of_near_copies_and_names_the_other(tmp_path: Path) -> None:
    tasks = write_tasks(
        tmp_path / "tasks.jsonl",
        ["Name four kinds of red fruit.", "Hello there", "Name five kinds of red fruit.", "Explain how bees see."],
    )
    stats = filter_file(tasks, tmp_path / "out", None, 0.7)
    kept = [task.instruction for task in read_tasks(tmp_path / "out")]
    short, near = read_records(tmp_path / "out" / "rejected.jsonl", Rejection)
    assert kept == ["Name four kinds of red fruit.", "Explain how bees see."]
    assert (short.reason, short.item, json.loads(short.values)) == ("too_short", 2, {"words": 2})
    # 5 of 6 words in common on both sides.
    assert (near.reason, near.nearest_id, near.nearest_rougeL) == ("novelty", "row-000001", pytest.approx(5 / 6))
    assert json.loads(near.raw)["instruction"] == "Name five kinds of red fruit."
    assert stats["funnel"]["rejected"] == {"too_short": 1, "novelty": 1}


def test_filter_compares_with_the_seeds_where_given(tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seed = {"id": "s", "name": "n", "instruction": "Explain how bees see.", "is_classification": False}
    seeds.write_text(json.dumps(seed | {"instances": [{"input": "", "output": "Well."}]}) + "\n", encoding="utf-8")
    tasks = write_tasks(tmp_path / "tasks.jsonl", ["Explain how bees see."])
    assert filter_file(tasks, tmp_path / "out", seeds, 0.7)["funnel"]["accepted"] == 0


def test_filter_never_writes_over_what_it_reads(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "dataset.jsonl", ["Explain how bees see."])
    with pytest.raises(RunError, match="read from"):
        filter_file(tasks, tmp_path, None, 0.7)
    assert read_tasks(tasks)


def test_filter_of_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tasks\.jsonl: no such file"):
        filter_file(tmp_path / "tasks.jsonl", tmp_path / "out", None, 0.7)


def test_the_published_filter_keeps_its_own_output(shared_data: Path, tmp_path: Path) -> None:
    """The first 6,000 of the 52,002 published rows; all of them take a minute (see benchmarks/)."""
    with gzip.open(shared_data / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
        head = [next(rows) for _ in range(6000)]
    published = tmp_path / "alpaca.jsonl"
    published.write_text("".join(head), encoding="utf-8")
    stats = filter_file(published, tmp_path / "out", shared_data / "self_instruct" / "seed_tasks.jsonl", 0.7)
    assert stats["funnel"]["accepted"] == 6000
