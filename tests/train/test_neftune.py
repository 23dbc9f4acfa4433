from pathlib import Path

import pytest
import torch

from pacos.config import TrainConfig
from pacos.train.data.examples import Example
from pacos.train.model.neftune import noise
from pacos.train.optimization.checkpoints import checkpoint_folders
from pacos.train.optimization.cross_entropy import token_losses
from pacos.train.packing.batch import collate
from pacos.train.packing.prefixes import share_prefixes
from tests.support.small_training import read_metrics, train_here, training_config, write_tasks
from tests.train.test_batch import tiny_model


def test_noise_is_scaled_by_the_length_of_each_example() -> None:
    batch = collate([[Example("a", [1] * 4, 1), Example("b", [1] * 100, 1)], [Example("c", [1] * 25, 1)]], 128, 0)
    torch.manual_seed(0)
    found = noise(torch.zeros(2, 128, 64), batch, alpha=5.0).abs()
    for row, first, length in [(0, 0, 4), (0, 4, 100), (1, 0, 25)]:
        own = found[row, first : first + length]
        bound = 5.0 / (length * 64) ** 0.5
        assert 0.95 * bound < own.max() <= bound
        assert own.mean() == pytest.approx(bound / 2, rel=0.1), "uniform between the bounds"


def test_there_is_noise_in_training_alone_and_the_seed_repeats_it() -> None:
    model = tiny_model()
    batch = collate([[Example("a", [1, 5, 6, 7, 2], 1)]], 128, 0)

    def losses(alpha: float) -> torch.Tensor:
        torch.manual_seed(3)
        return token_losses(model, batch, alpha).detach()

    plain = losses(0.0)
    assert (losses(5.0) - plain).abs().max() > 1e-3
    assert torch.equal(losses(5.0), losses(5.0))
    model.eval()
    assert torch.equal(losses(5.0), plain)


def test_noise_disables_the_sharing_of_prefixes() -> None:
    rows = [Example("x", [1, 2, 3, 4, 5, 10 + row], 5) for row in range(20)]
    assert any(example.prefix_length for example in share_prefixes(rows, TrainConfig()))
    assert not any(example.prefix_length for example in share_prefixes(rows, TrainConfig(neftune_alpha=5)))


def test_a_noisy_run_resumes_bit_for_bit(tmp_path: Path, tiny_base: Path) -> None:
    import shutil

    tasks = write_tasks(tmp_path / "tasks.jsonl", 24)
    config = training_config(tmp_path, tiny_base, tasks, epochs=1, save_steps=1, neftune_alpha=5)
    whole = [line["loss"] for line in train_here(config)]
    shutil.rmtree(config.run_dir / "train" / "adapter")
    shutil.rmtree(checkpoint_folders(config.run_dir / "train" / "checkpoints")[0])
    train_here(config)
    assert [line["loss"] for line in read_metrics(config)] == whole
