"""The figures of `pacos analyze` on a set small enough to count by hand, and the page."""

import json
from pathlib import Path

import pytest

from pacos.files import write_json, write_jsonl
from pacos.generate.analyze import analyze, distinct, top_pairs
from pacos.generate.filtering.defects import link_in_input, repeated_long_outputs, stray_escape
from pacos.generate.verbs import verb_noun
from pacos.records import Task
from pacos.report.render import render_analysis
from pacos.results import plain
from pacos.results.dataset import NoveltyStretch

EVIL = "</script><b>bees</b>"


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Write a short story about bees.", ("write", "story")),
        ("List three sunny Italian cities", ("list", "city")),
        ("Please give me some good advice.", ("give", "advice")),
        ("Given a list of numbers, find the largest one.", ("find", "one")),
        ("Can you suggest ways to save water?", ("suggest", "way")),
        ("Rewrite the sentence. Keep its meaning.", ("rewrite", "sentence")),
        ("What is the capital of France?", None),
        ("Think of a number between one and ten.", None),
        ("", None),
    ],
)
def test_verb_and_noun(instruction: str, expected: tuple[str, str] | None) -> None:
    assert verb_noun(instruction) == expected


def test_top_pairs_are_the_most_frequent_verbs_and_nouns() -> None:
    pairs = [("write", "story")] * 3 + [("write", "poem")] + [("name", "bird")] * 2
    pairs += [("write", noun) for noun in ("essay", "note", "tale")] + [("name", "tree")]
    top = top_pairs(pairs)
    assert list(top) == ["write", "name"]
    assert top["write"] == {"story": 3, "essay": 1, "note": 1, "poem": 1}


def test_distinct_counts_different_n_grams() -> None:
    assert distinct(["Name a bird", "Name a tree"], 1) == 4 / 6
    assert distinct(["Name a bird", "Name a tree"], 2) == 3 / 4
    assert distinct([""], 1) == 0.0


def test_an_escape_outside_quotes_and_a_link_are_suspicious() -> None:
    assert stray_escape(Task("Name two.", "", "One\\nTwo"))
    assert stray_escape(Task("Name a dish.", "", "Cr\\u00eape"))
    assert not stray_escape(Task("Print a line.", "", 'printf("one\\n");'))
    assert link_in_input(Task("Sum it up.", "See https://example.org for more."))
    assert not link_in_input(Task("Sum up https://example.org."))


def test_a_long_output_counts_as_repeated_from_its_second_occurrence_on() -> None:
    outputs = ["one two three four five six seven eight nine ten"] * 3 + ["Yes."] * 5
    assert repeated_long_outputs(Task("Do it.", "", output) for output in outputs) == 2


def test_an_analysis_counted_by_hand(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    rows = [
        {"instruction": "Name four red fruits.", "input": "", "output": "Apples and cherries."},
        {"instruction": "Name four red birds.", "input": "in Europe", "output": "Robins"},
        {"instruction": f"Why? {EVIL}", "input": "N/A", "output": "Because."},
    ]
    write_jsonl(folder / "dataset.jsonl", rows)
    write_json(folder / "stats.json", {"funnel": {"items": 9, "parsed": 5, "accepted": 3}})
    seed = {"id": "s", "instruction": "Name four blue birds.", "instances": [{"input": "", "output": "Jays."}]}
    write_jsonl(tmp_path / "seeds.jsonl", [seed])
    analysis = analyze(folder, folder, tmp_path / "seeds.jsonl")
    assert json.loads((folder / "analysis.json").read_text(encoding="utf-8")) == plain(analysis)
    assert (analysis.lengths["input"].mean, analysis.lengths["input"].count) == (1.5, 2)
    assert analysis.lengths["output"].histogram[0] == 3
    # To the seed: LCS 2 of 4 and 4, 3 of 4 and 4, none.
    assert analysis.nearest_seed.mean == pytest.approx((0.5 + 0.75) / 3, abs=1e-4)
    # To the earlier tasks: none, LCS 3 of 4 and 4, none.
    assert analysis.novelty.over_time == [
        NoveltyStretch(1, 0.0), NoveltyStretch(2, 0.75), NoveltyStretch(3, 0.0),
    ]  # fmt: skip
    assert analysis.defects["placeholder_input"] == 1
    assert analysis.suspicions["one_word_output"] == 2
    if analysis.verbs.extractor.startswith("rules"):
        assert analysis.verbs.top == {"name": {"bird": 1, "fruit": 1}}
    assert (analysis.funnel.items, analysis.funnel.accepted) == (9, 3)
    page = render_analysis(folder).read_text(encoding="utf-8")
    assert EVIL not in page
    assert "not published" in page and "51 %" in page
    assert page.count('class="chart"') == 10


def test_a_dataset_in_another_script_is_measured_by_its_own_words(tmp_path: Path) -> None:
    # The first two have fifteen characters each and share twelve in order; by rouge's tokens nothing is shared.
    instructions = ["请写一首关于春天早晨的短诗给我", "请写一首关于秋天傍晚的短诗给我", "列出三种水果"]
    write_jsonl(tmp_path / "dataset.jsonl", [{"instruction": text, "output": "好的，没问题"} for text in instructions])
    analysis = analyze(tmp_path / "dataset.jsonl", tmp_path, None)
    assert plain(analysis.tokenization) == {"tokenizer": "unicode", "texts": 3, "unicode_texts": 3, "unmeasured": 0}
    # LCS 12 of 15 and 15.
    assert analysis.novelty.over_time[1].mean == pytest.approx(12 / 15, abs=1e-4)
    assert analysis.lengths["instruction"].max == 15 and analysis.lengths["output"].max == 5
    assert analysis.suspicions["one_word_output"] == 0
    # 36 characters, of which these differ: 15, then 秋 傍 晚, then 列 出 三 种 水 果.
    assert analysis.distinct["1"] == round(24 / 36, 4)
    assert "tokenizer unicode (words of any script) for 3 of 3 texts" in render_analysis(tmp_path).read_text("utf-8")
    by_rouge = analyze(tmp_path / "dataset.jsonl", tmp_path, None, "rouge")
    assert (by_rouge.novelty.mean, by_rouge.distinct["1"], by_rouge.tokenization.unmeasured) == (0.0, 0.0, 3)
    assert "3 of 3 texts are in scripts" in render_analysis(tmp_path).read_text("utf-8")
