"""Fixtures that several test files share: real data where it is at hand, a tiny Llama, one vLLM server for all."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data (SuperNI, official seeds, Alpaca); never part of the repository."""
    folder = Path(os.environ.get("PACOS_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"needs the real data folder; {folder} is absent (set PACOS_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight Llama (2 layers, 64 wide, 2,048 positions) with a byte-level BPE tokenizer of its own."""
    from tests.tiny_llama import build_tiny_llama

    return build_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")
