"""What several tests of training share."""

from pathlib import Path

import pytest

from tests.support.small_training import write_tasks


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tasks that a tiny model can be trained on."""
    return write_tasks(tmp_path_factory.mktemp("tasks") / "tasks.jsonl", 40)
