"""The dataset card, read by the hub's own reader."""

from pathlib import Path

import pytest
from huggingface_hub import DatasetCard

from pacos.config import parse_config
from pacos.generate.card import write_card
from pacos.results.dataset import DatasetStats, Funnel


def card_of(folder: Path, base: str, seeds: Path) -> DatasetCard:
    config = parse_config({"name": "fruit", "model": {"base": base}}, where="test")
    write_card(folder, config, seeds, 3, DatasetStats(funnel=Funnel(accepted=30)))
    card: DatasetCard = DatasetCard.load(folder / "README.md")
    return card


@pytest.mark.parametrize(
    "name", ["a\n---\nlicense: mit", "a: b", "`` ` ``", "<script>x</script>", "[a](http://evil)", "---"]
)
def test_the_card_is_read_whatever_the_model_and_the_seeds_are_called(name: str, tmp_path: Path) -> None:
    card = card_of(tmp_path, name, Path(name))
    header = card.data.to_dict()
    assert (header["license"], header["pretty_name"]) == ("other", "fruit")
    assert card.data.to_dict()["configs"][0]["data_files"] == [{"split": "train", "path": "dataset.jsonl"}]
    assert card.text.lstrip().startswith("# fruit\n") and "\n---\n" not in card.text


def test_names_stand_in_code_that_their_backticks_do_not_end(tmp_path: Path) -> None:
    text = card_of(tmp_path, "a`b<i>", Path("s``.jsonl")).text
    assert "written by ``a`b<i>`` and" in text and "(```s``.jsonl```)" in text
