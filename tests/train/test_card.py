"""The model card: written for every finished training, whatever the base's own card holds, and read by the hub."""

import logging
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from pacos.config import Config, ModelConfig, parse_config
from pacos.results.training import Provenance, StopProbe
from pacos.templates import ALPACA
from pacos.train.data.examples import Dataset
from pacos.train.export import card as cards
from pacos.train.export.card import base_licence, model_card
from tests.support.small_training import train_here, training_config, write_tasks

PROVENANCE = Provenance("base", "", "", "alpaca", ALPACA.sha256, "", "0" * 64)
PROBE = StopProbe(4, 4, 20, 5)
BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(8)
)


def card_of(base: str, sources: list[str] | None = None) -> ModelCard:
    values = {"name": "fruit", "model": {"base": base}, "train": {"data": [{"path": one} for one in sources or []]}}
    text = model_card(parse_config(values, where="test"), Dataset([], 3), PROVENANCE, PROBE)
    return ModelCard(text)


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (b"---\nlicense: mit\n---\n# Mod\xe8le\n", "mit"),
        (b"\xef\xbb\xbf---\r\nlicense: mit\r\n---\r\n", "mit"),
        (b"---\nlicense: mit\ndate: 2024-02-30\n---\n", "mit"),
        (b"---\nlicense: mit\ndate: 2024-13-45 10:00:00\n---\n", "mit"),
        (b"---\nlicense: mit\nx: " + b"9" * 5000 + b"\n---\n", "mit"),
        (b"---\nx: !!int abc\nlicense: mit\n---\n", "mit"),
        (b"---\n" + BOMB + b"license: mit\n---\n", "mit"),
        (b"---\nlicense: mit\n---\n" + b"x" * 10_000_000, "mit"),
        (b"---\nx: " + b"[" * 5000 + b"\n---\n", None),
        (b"---\nlicense: !!python/object/apply:os.mkdir ['PLACE']\n---\n", None),
        (b'---\nlicense: "mit\\n\\n<script>alert(1)</script>\\n# Heading"\n---\n', None),
        (b"---\nlicense: [mit, apache-2.0]\n---\n", None),
        (b"---\n? [a]\n: b\nlicense: mit\n---\n", None),
        (b"---\nlicense: 1:2:3\n---\n", None),
        (b"---\nlicense: !!binary ====\n---\n", None),
        (b"---\nx: " + b"y" * 1_000_000 + b"\nlicense: mit\n---\n", None),
        (b"---\n- a\n- b\n---\n", None),
        (b"---\nlicense: \x00\n---\n", None),
        (b"", None),
    ],
)
def test_a_bases_card_of_any_form_ends_in_a_card(card: bytes, licence: str | None, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_bytes(card.replace(b"PLACE", str(tmp_path / "made").encode()))
    written = card_of(str(tmp_path))
    assert written.data.to_dict().get("license") == licence
    assert "<script>" not in written.text and "3 rows" in written.text
    assert not (tmp_path / "made").exists()


def test_a_bases_card_that_cannot_be_read_is_named_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "README.md").write_text("---\nlicense: [mit\n---\n", encoding="utf-8")
    assert base_licence(str(tmp_path), ModelConfig(base=str(tmp_path))) == {}
    assert f"the card of {tmp_path} cannot be read" in caplog.text


def test_links_to_the_licence_are_addresses_or_files(tmp_path: Path) -> None:
    config = ModelConfig(base=str(tmp_path))
    for link, kept in {
        "LICENSE": True,
        "https://a.b/c?d=e": True,
        "javascript:alert(1)": False,
        "a)[b](c": False,
    }.items():
        (tmp_path / "README.md").write_text(f"---\nlicense: other\nlicense_link: '{link}'\n---\n", encoding="utf-8")
        assert base_licence(str(tmp_path), config) == {"license": "other", **({"license_link": link} if kept else {})}


@pytest.mark.parametrize("name", ["a\n---\nlicense: mit", "a: `b`", "](http://evil) <script>x</script>", "---", "|"])
def test_names_in_the_header_and_the_text_are_names_only(name: str, tmp_path: Path) -> None:
    written = card_of(str(tmp_path / name), [name])
    assert written.data.to_dict()["base_model"] == str(tmp_path / name)
    assert written.data.to_dict()["datasets"] == [name] and "license" not in written.data.to_dict()
    assert "\n---\n" not in written.text


def test_a_base_of_the_hub_is_linked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "base_card", lambda name, config: None)
    assert "[own_er/base](https://huggingface.co/own_er/base)" in card_of("own_er/base").text


def test_a_failure_of_the_card_does_not_lose_the_training(
    tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> dict[str, str]:
        raise KeyError("planted")

    monkeypatch.setattr(cards, "base_licence", broken)
    config: Config = training_config(tmp_path, tiny_base, write_tasks(tmp_path / "tasks.jsonl", 24), "fruit")
    with caplog.at_level(logging.WARNING):
        train_here(config)
    adapter = config.run_dir / "train" / "adapter"
    assert (adapter / "adapter_model.safetensors").is_file()
    assert ModelCard.load(adapter / "README.md").data.base_model == str(tiny_base)
    assert "the model card could not be written in full" in caplog.text and "planted" in caplog.text
