from pathlib import Path

import pytest

from pacos.errors import ConfigError
from pacos.sweeps.trials import read_grid, values_of

EXPERIMENT = "name: base\nmodel: {base: owner/model}\ntrain: {learning_rate: 2.0e-4}\n"


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "base.yaml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return path


def test_every_combination_is_a_trial_beside_the_default(experiment: Path) -> None:
    grid = read_grid(experiment, ["train.learning_rate=1e-4,5e-4", "train.lora.r=16,64", "train.epochs=2"])
    assert [trial.name for trial in grid.trials] == [
        "default",
        "learning_rate-1e-4_r-16",
        "learning_rate-1e-4_r-64",
        "learning_rate-5e-4_r-16",
        "learning_rate-5e-4_r-64",
    ]
    last = grid.trials[-1].config
    assert (last.train.learning_rate, last.train.lora.r, last.train.epochs) == (5e-4, 64, 2.0)
    assert grid.config.train.epochs == 2.0
    assert str(last.run_dir) == "runs/base/trials/learning_rate-5e-4_r-64"
    assert last.train.data[0].path == "runs/base/dataset"


def test_a_combination_that_is_the_default_is_trained_once(experiment: Path) -> None:
    grid = read_grid(experiment, ["train.learning_rate=1e-4,2e-4"])
    assert [trial.name for trial in grid.trials] == ["default", "learning_rate-1e-4"]


def test_a_draw_keeps_the_default_and_repeats(experiment: Path) -> None:
    words = ["train.learning_rate=1e-5,2e-5,3e-5,4e-5", "train.lora.r=4,8"]
    names = [[trial.name for trial in read_grid(experiment, words, most=3).trials] for _ in range(2)]
    assert names[0] == names[1]
    assert len(names[0]) == 4
    assert names[0][0] == "default"


def test_commas_within_brackets_and_quotes_separate_nothing() -> None:
    assert values_of('[q_proj, v_proj],all-linear,"a,b"') == ["[q_proj, v_proj]", "all-linear", '"a,b"']


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train.epochs=2"], "no key has several values"),
        (["model.base=a/b,c/d"], r"model\.base: a sweep varies training alone"),
        (["train.learning_rat=1,2"], "learning_rate"),
    ],
)
def test_words_that_make_no_sweep_are_refused(experiment: Path, words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_grid(experiment, words)
