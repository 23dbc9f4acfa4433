"""Novelty of instructions in scripts that rouge_score's tokenizer does not know, under that tokenizer."""

from pathlib import Path

import pytest

from pacos.config import FiltersConfig
from pacos.files import read_jsonl, write_jsonl
from pacos.generate.curate import filter_file
from pacos.generate.filtering.filters import TOKENIZERS
from pacos.novelty.index import NoveltyIndex
from pacos.results.dataset import DatasetStats


def filtered(folder: Path, instructions: list[str]) -> DatasetStats:
    write_jsonl(folder / "tasks.jsonl", [{"instruction": text, "output": "हाँ, ठीक है।"} for text in instructions])
    return filter_file(folder / "tasks.jsonl", folder / "out", None, FiltersConfig())


def test_instructions_that_share_a_number_alone_are_no_copies(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """By rouge_score's tokens both are "3", and the second a copy of the first."""
    with caplog.at_level("INFO", logger="pacos"):
        stats = filtered(tmp_path, ["3 पंक्तियाँ वसंत के बारे में लिखो", "3 नदियाँ हिमालय की गिनाओ", "Name 3 rivers of Asia."])
    assert stats.funnel.accepted == 3
    assert stats.novelty.unicode_texts == 2
    assert "novelty of 2 instructions is by words of any script" in caplog.text
    [_, second, third] = [row for _, row in read_jsonl(tmp_path / "out" / "dataset.jsonl")]
    # One word of 5 and 7 in common; the English one has "3" in common with each, of 5 words, and Hindi ones 7 and 5.
    assert second["nearest_rougeL"] == pytest.approx(2 * 1 / (5 + 7))
    assert third["nearest_rougeL"] == pytest.approx(2 * 1 / (5 + 5))


def test_a_near_copy_is_refused_by_its_words(tmp_path: Path) -> None:
    stats = filtered(tmp_path, ["2 Напиши стихотворение о весне в горах", "2 Напиши стихотворение о зиме в горах"])
    assert stats.funnel.rejected == {"novelty": 1}
    [(_, rejection)] = read_jsonl(tmp_path / "out" / "rejected.jsonl")
    # Six of seven words; by rouge_score's tokens all of one.
    assert rejection["nearest_rougeL"] == pytest.approx(6 / 7)


def test_a_near_copy_without_any_token_of_rouge_scores_is_refused() -> None:
    index = NoveltyIndex(0.7, TOKENIZERS["rouge"])
    index.add("one", "写一首关于春天的诗")
    found = index.rejects("写一首关于秋天的诗")
    assert found and found.score == pytest.approx(8 / 9)


def test_latin_instructions_are_not_counted(tmp_path: Path) -> None:
    stats = filtered(tmp_path, ["Traduis « l'été » en anglais.", "Name a river of Asia."])
    assert (stats.funnel.accepted, stats.novelty.unicode_texts) == (2, 0)
