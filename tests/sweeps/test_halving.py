from pathlib import Path

import pytest

from pacos.errors import ConfigError
from pacos.results.sweep import TrialRecord
from pacos.sweeps.training import check_held_out, halved, shares, shortened
from pacos.sweeps.trials import Trial, read_grid


def grid(tmp_path: Path, *words: str) -> list[Trial]:
    path = tmp_path / "base.yaml"
    path.write_text("name: base\nmodel: {base: owner/model}\ntrain: {epochs: 4, max_steps: 100}\n", encoding="utf-8")
    return read_grid(path, ["train.lora.r=1,2,3", *words]).trials


def record(name: str, loss: float | None) -> TrialRecord:
    return TrialRecord(name, [], 0.5, "failed" if loss is None else "trained", "", loss)


def test_the_better_half_goes_on_and_the_default_with_it(tmp_path: Path) -> None:
    trials = grid(tmp_path)
    losses = [record(name, loss) for name, loss in (("default", 9.0), ("r-1", 3.0), ("r-2", 1.0), ("r-3", 2.0))]
    assert [trial.name for trial in halved(trials, losses)] == ["default", "r-2", "r-3"]


def test_a_training_that_failed_does_not_go_on(tmp_path: Path) -> None:
    losses = [record(name, loss) for name, loss in (("default", 9.0), ("r-1", None), ("r-2", None), ("r-3", 2.0))]
    assert [trial.name for trial in halved(grid(tmp_path), losses)] == ["default", "r-3"]


@pytest.mark.parametrize(("trials", "expected"), [(2, [1.0]), (4, [0.5, 1.0]), (8, [0.25, 0.5, 1.0])])
def test_the_last_rung_is_the_whole_training(trials: int, expected: list[float]) -> None:
    assert shares(trials) == expected


def test_a_shorter_training_has_a_run_directory_of_its_own(tmp_path: Path) -> None:
    trial = grid(tmp_path)[1]
    short = shortened(trial, 0.25)
    assert (short.name, short.config.name) == ("r-1", "r-1--0.25")
    assert (short.config.train.epochs, short.config.train.max_steps) == (1.0, 25)
    assert shortened(trial, 1.0) is trial


def test_halving_needs_held_out_examples(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.eval_examples: halving goes by the loss of held-out examples"):
        check_held_out(grid(tmp_path))
    check_held_out(grid(tmp_path, "train.eval_examples=10"))
