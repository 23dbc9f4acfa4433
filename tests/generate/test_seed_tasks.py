"""The project's own seed tasks: format, published filter, diversity, and distance from the official seeds."""

import json
import re
from collections import Counter
from itertools import combinations, pairwise
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer
from rouge_score.tokenize import tokenize

Tasks = list[dict[str, Any]]

SEEDS = Path(__file__).resolve().parents[2] / "generate" / "data" / "seed_tasks.jsonl"

# The figures of the official 175 tasks.
OFFICIAL_MEAN_WORDS = 13.0
OFFICIAL_WITHOUT_INPUT = 50
OFFICIAL_FIRST_WORDS = 68

FILTERED_WORDS = re.compile(
    r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to|video|audio|music|flowchart|diagram)\b",
    re.IGNORECASE,
)


def load(path: Path) -> Tasks:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def instructions(tasks: Tasks) -> list[str]:
    return [task["instruction"] for task in tasks]


def first_words(tasks: Tasks) -> Counter[str]:
    return Counter(re.findall(r"[\w'-]+", text)[0].lower() for text in instructions(tasks))


def tokens(text: str) -> list[str]:
    return list(tokenize(text, None))


def rouge_l(a: list[str], b: list[str]) -> float:
    common = LCSseq.similarity(a, b)
    return 2 * common / (len(a) + len(b)) if common else 0.0


@pytest.fixture(scope="module")
def seeds() -> Tasks:
    return load(SEEDS)


@pytest.fixture
def official(shared_data: Path) -> Tasks:
    path = shared_data / "self_instruct" / "seed_tasks.jsonl"
    if not path.is_file():
        pytest.skip(f"the official seed tasks are not at {path}")
    return load(path)


def test_there_are_175_tasks_with_ids_in_order(seeds: Tasks) -> None:
    assert [task["id"] for task in seeds] == [f"seed_task_{i}" for i in range(175)]


def test_every_task_has_the_official_keys_in_the_official_order(seeds: Tasks) -> None:
    for task in seeds:
        assert list(task) == ["id", "name", "instruction", "instances", "is_classification"], task["id"]
        assert [list(instance) for instance in task["instances"]] == [["input", "output"]], task["id"]


def test_every_value_has_the_right_type_and_no_outer_whitespace(seeds: Tasks) -> None:
    for task in seeds:
        texts = [task["name"], task["instruction"], *task["instances"][0].values()]
        assert all(isinstance(text, str) and text == text.strip() for text in texts), task["id"]
        assert isinstance(task["is_classification"], bool), task["id"]


def test_names_are_unique_and_in_snake_case(seeds: Tasks) -> None:
    names = [task["name"] for task in seeds]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)] == []


def test_every_output_is_present_and_differs_from_the_input(seeds: Tasks) -> None:
    for task in seeds:
        instance = task["instances"][0]
        assert instance["output"], task["id"]
        assert instance["output"] != instance["input"], task["id"]


def test_no_input_or_output_ends_with_a_colon(seeds: Tasks) -> None:
    endings = [text for task in seeds for text in task["instances"][0].values() if text.endswith(":")]
    assert endings == []


def test_about_25_tasks_are_classification(seeds: Tasks) -> None:
    assert 20 <= sum(task["is_classification"] for task in seeds) <= 30


def test_classification_tasks_have_an_input_and_a_short_label(seeds: Tasks) -> None:
    for task in seeds:
        if task["is_classification"]:
            assert task["instances"][0]["input"], task["id"]
            assert len(task["instances"][0]["output"].split()) <= 3, task["id"]


def test_about_a_third_of_the_tasks_have_no_input(seeds: Tasks) -> None:
    without = sum(not task["instances"][0]["input"] for task in seeds)
    assert OFFICIAL_WITHOUT_INPUT <= without <= 62


def test_instructions_pass_the_published_word_filter(seeds: Tasks) -> None:
    assert [text for text in instructions(seeds) if FILTERED_WORDS.search(text)] == []


def test_instructions_pass_the_published_length_filter(seeds: Tasks) -> None:
    assert [text for text in instructions(seeds) if not 3 < len(text.split()) <= 150] == []


def test_instructions_start_as_the_published_filter_demands(seeds: Tasks) -> None:
    texts = instructions(seeds)
    assert [text for text in texts if not (text[0].isascii() and text[0].isalnum())] == []
    assert [text for text in texts if text.startswith("Write a program")] == []


def test_mean_instruction_length_is_near_the_official_one(seeds: Tasks) -> None:
    assert mean(len(text.split()) for text in instructions(seeds)) == pytest.approx(OFFICIAL_MEAN_WORDS, abs=1)


def test_instruction_lengths_are_spread_but_stay_below_60_words(seeds: Tasks) -> None:
    lengths = sorted(len(text.split()) for text in instructions(seeds))
    assert lengths[0] <= 5
    assert 30 <= lengths[-1] <= 60


def test_outputs_are_short_enough_for_three_to_share_a_prompt(seeds: Tasks) -> None:
    lengths = [len(task["instances"][0]["output"].split()) for task in seeds]
    assert mean(lengths) <= 45
    assert max(lengths) <= 150


def test_inputs_stay_below_80_words(seeds: Tasks) -> None:
    assert max(len(task["instances"][0]["input"].split()) for task in seeds) <= 80


def test_instructions_open_in_more_ways_than_the_official_ones(seeds: Tasks) -> None:
    counts = first_words(seeds)
    assert len(counts) > OFFICIAL_FIRST_WORDS
    assert max(counts.values()) <= 8


def test_at_least_35_instructions_are_questions(seeds: Tasks) -> None:
    assert sum(text.endswith("?") for text in instructions(seeds)) >= 35


def test_no_two_instructions_are_similar(seeds: Tasks) -> None:
    pairs = combinations([(text, tokens(text)) for text in instructions(seeds)], 2)
    assert [(a, b) for (a, x), (b, y) in pairs if rouge_l(x, y) > 0.6] == []


def test_the_fast_rouge_l_agrees_with_rouge_score(seeds: Tasks) -> None:
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    texts = instructions(seeds)
    for a, b in pairwise(texts):
        assert rouge_l(tokens(a), tokens(b)) == pytest.approx(scorer.score(a, b)["rougeL"].fmeasure)


def test_the_reference_figures_match_the_official_set(official: Tasks) -> None:
    assert len(official) == 175
    assert mean(len(text.split()) for text in instructions(official)) == pytest.approx(OFFICIAL_MEAN_WORDS, abs=0.05)
    assert sum(not task["instances"][0]["input"] for task in official) == OFFICIAL_WITHOUT_INPUT
    assert len(first_words(official)) == OFFICIAL_FIRST_WORDS


def test_no_instruction_is_close_to_an_official_one(seeds: Tasks, official: Tasks) -> None:
    theirs = [tokens(text) for text in instructions(official)]
    ours = [(text, tokens(text)) for text in instructions(seeds)]
    assert [text for text, mine in ours if max(rouge_l(mine, other) for other in theirs) > 0.5] == []


def test_no_input_or_longer_output_is_close_to_an_official_one(seeds: Tasks, official: Tasks) -> None:
    def texts(tasks: Tasks, key: str) -> list[list[str]]:
        return [text for task in tasks for text in [tokens(task["instances"][0][key])] if len(text) > 5]

    for key in ("input", "output"):
        theirs = texts(official, key)
        close = [text for text in texts(seeds, key) if max(rouge_l(text, other) for other in theirs) > 0.5]
        assert close == [], key
