import json
from pathlib import Path
from typing import Any

import pytest

from pacos.config import Config, parse_config
from pacos.errors import ConfigError
from pacos.train.learning_rate import starting_rate, with_starting_rate


def experiment(folder: Path, model_type: str, hidden_size: int, **train: Any) -> Config:
    settings = {"model_type": model_type, "hidden_size": hidden_size, "num_attention_heads": 8}
    (folder / "config.json").write_text(json.dumps(settings), encoding="utf-8")
    values = {"name": "x", "model": {"base": str(folder)}, "train": {"learning_rate": "auto"} | train}
    return parse_config(values, where="test")


@pytest.mark.parametrize(
    ("model_type", "hidden_size", "train", "rate"),
    [
        ("llama", 4096, {}, 2.9e-4),  # 5e-4 · 0.48828125^0.781 = 5e-4 · exp(−0.5599) = 2.856e-4
        ("qwen3", 4096, {}, 4.7e-4),  # 5e-4 · exp(−0.0556) = 4.73e-4
        ("llama", 4096, {"method": "full"}, 2.9e-5),
        ("gpt_neox", 4096, {}, 5e-4),
    ],
)
def test_the_rate_is_that_of_the_formula(
    model_type: str, hidden_size: int, train: dict[str, Any], rate: float, tmp_path: Path
) -> None:
    assert starting_rate(experiment(tmp_path, model_type, hidden_size, **train)).rate == pytest.approx(rate)


def test_what_the_formula_does_not_know_is_said(tmp_path: Path) -> None:
    said = starting_rate(experiment(tmp_path, "gpt_neox", 512, lora={"alpha": 16})).formula
    assert "no exponent is known for gpt_neox" in said
    assert "found with alpha 32" in said


def test_a_number_stays_as_it_is(tmp_path: Path) -> None:
    config = experiment(tmp_path, "llama", 4096, learning_rate=1e-4)
    assert with_starting_rate(config) is config
    assert with_starting_rate(experiment(tmp_path, "llama", 4096)).train.learning_rate == pytest.approx(2.9e-4)


def test_preference_training_needs_a_number(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.learning_rate: auto is a rate for supervised training"):
        starting_rate(experiment(tmp_path, "llama", 4096, objective="dpo"))
