"""The demonstration's evaluation suite: SuperNI's shape, the official categories, no text twice, none of our seeds."""

import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from pacos.evaluate.contamination import PassageIndex, find_overlaps, suite_passages, training_passages
from pacos.results.evaluation import Passage
from pacos.seeds import PACKAGED_SEEDS, load_seeds
from pacos.superni.suites import read_suite
from tests.conftest import ROOT

SUITE = ROOT / "demo" / "suite"
FILES = sorted((SUITE / "tasks").glob("*.json"))

OFFICIAL_CATEGORIES = {
    "Textual Entailment",
    "Coreference Resolution",
    "Answerability Classification",
    "Word Analogy",
    "Cause Effect Classification",
    "Dialogue Act Recognition",
    "Title Generation",
    "Question Rewriting",
    "Data to Text",
    "Keyword Tagging",
    "Overlap Extraction",
    "Grammar Error Correction",
}
KEYS = [
    "Contributors",
    "Source",
    "URL",
    "Categories",
    "Reasoning",
    "Definition",
    "Input_language",
    "Output_language",
    "Instruction_language",
    "Domains",
    "Positive Examples",
    "Negative Examples",
    "Instances",
    "Instance License",
]

every_task = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8")))


def inputs(task: dict[str, Any]) -> list[str]:
    return [instance["input"] for instance in task["Instances"]]


def repeated(texts: list[str]) -> list[str]:
    return [text for text, times in Counter(texts).items() if times > 1]


def test_every_official_category_has_three_tasks_and_there_is_no_other() -> None:
    tasks = Counter(category for path in FILES for category in read(path)["Categories"])
    assert set(tasks) == OFFICIAL_CATEGORIES
    assert min(tasks.values()) >= 3


def test_the_split_lists_the_files_in_order() -> None:
    listed = (SUITE / "splits" / "default" / "test_tasks.txt").read_text(encoding="utf-8")
    assert listed == "".join(f"{path.stem}\n" for path in FILES)
    assert len(FILES) == 40


@every_task
def test_a_task_has_supernis_keys_in_the_suites_form(path: Path) -> None:
    task = read(path)
    assert list(task) == KEYS
    assert len(task["Definition"]) == len(task["Categories"]) == 1
    assert path.read_text(encoding="utf-8") == json.dumps(task, indent=4, ensure_ascii=False) + "\n"


@every_task
def test_a_task_shows_at_least_two_right_answers_and_a_wrong_one(path: Path) -> None:
    task = read(path)
    right, wrong = task["Positive Examples"], task["Negative Examples"]
    assert len(right) >= 2
    assert len(wrong) == 1
    for example in right + wrong:
        assert list(example) == ["input", "output", "explanation"]
        assert all(text.strip() for text in example.values())
    assert (wrong[0]["input"], wrong[0]["output"]) not in [(one["input"], one["output"]) for one in right]


@every_task
def test_no_example_is_an_instance(path: Path) -> None:
    task = read(path)
    shown = {example["input"] for example in task["Positive Examples"] + task["Negative Examples"]}
    assert shown.isdisjoint(inputs(task))


@every_task
def test_a_task_has_twenty_instances_named_by_their_inputs_hash(path: Path) -> None:
    task = read(path)
    number = path.stem.partition("_")[0]
    ids = [instance["id"] for instance in task["Instances"]]
    assert ids == [f"{number}-{hashlib.sha256(text.encode()).hexdigest()[:32]}" for text in inputs(task)]
    assert len(set(ids)) == len(ids) >= 20


@every_task
def test_inputs_are_short_and_references_are_there(path: Path) -> None:
    for instance in read(path)["Instances"]:
        assert list(instance) == ["id", "input", "output"]
        assert 0 < len(instance["input"].split()) <= 60
        assert instance["output"]
        assert all(reference.strip() for reference in instance["output"])


@every_task
def test_where_the_answers_are_a_few_labels_they_are_balanced(path: Path) -> None:
    answers = Counter(instance["output"][0] for instance in read(path)["Instances"])
    if len(answers) <= 5:
        assert max(answers.values()) - min(answers.values()) <= 1


def test_no_two_tasks_share_a_definition() -> None:
    assert repeated([read(path)["Definition"][0] for path in FILES]) == []


def test_no_two_instances_share_an_input_and_none_is_a_definition() -> None:
    texts = [text for path in FILES for text in (read(path)["Definition"][0], *inputs(read(path)))]
    assert repeated(texts) == []


def test_no_text_of_the_suite_is_in_pacos_own_seed_tasks() -> None:
    seeds = training_passages([seed.task for seed in load_seeds(PACKAGED_SEEDS)])
    assert find_overlaps(seeds, suite_passages(read_suite(SUITE))).overlaps == []


def test_no_line_of_an_input_without_its_label_is_in_pacos_own_seed_tasks() -> None:
    index = PassageIndex(training_passages([seed.task for seed in load_seeds(PACKAGED_SEEDS)]))
    lines = {line.partition(": ")[2] for path in FILES for text in inputs(read(path)) for line in text.splitlines()}
    assert [line for line in sorted(lines) if index.overlap(Passage("suite", "line", line))] == []
