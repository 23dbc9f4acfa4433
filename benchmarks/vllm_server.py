"""One vLLM server for a benchmark, and what it says of itself."""

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.errors import EngineError
from pacos.serving.client import send
from pacos.serving.server import ManagedServer
from tests.support.list_writer import CONTEXT

KEY_ENV = "PACOS_BENCHMARK_KEY"


@contextlib.contextmanager
def serving(base: Path, folder: Path, adapters: Sequence[Path] = (), **args: Any) -> Iterator[ManagedServer]:
    """A server with room for these adapters, whose prefix cache can be emptied between measurements; its key is in the
    environment as KEY_ENV."""
    os.environ["VLLM_SERVER_DEV_MODE"] = "1"  # gives /reset_prefix_cache
    config = Config(
        name="benchmark",
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=EngineConfig(args={"max_model_len": CONTEXT, **args}),
    )
    server = ManagedServer.of(config, folder, str(base), adapters)
    os.environ[KEY_ENV] = server.key
    server.start()
    try:
        yield server
    finally:
        server.stop()


def forget_prefixes(server: ManagedServer) -> None:
    """Empty the prefix cache, so that a prompt costs the same the second time."""
    status, text = send(f"{_root(server)}/reset_prefix_cache", server.key, {})
    if status != 200:
        raise EngineError(f"the prefix cache stays: {status} {text}", where=server.url)


def load(server: ManagedServer) -> tuple[int, int]:
    """(tokens generated since the start, requests that are running or waiting) of this moment."""
    text = _metrics(server)
    tokens = sum(_values(text, "vllm:generation_tokens_total"))
    busy = _values(text, "vllm:num_requests_running") + _values(text, "vllm:num_requests_waiting")
    return int(tokens), int(sum(busy))


def tokens_by_replica(server: ManagedServer) -> list[int]:
    return [int(value) for value in _values(_metrics(server), "vllm:generation_tokens_total")]


def _metrics(server: ManagedServer) -> str:
    return send(f"{_root(server)}/metrics", server.key)[1]


def _root(server: ManagedServer) -> str:
    return server.url.removesuffix("/v1")


def _values(metrics: str, name: str) -> list[float]:
    """One for each replica."""
    return [float(value) for value in re.findall(rf"^{re.escape(name)}(?:{{.*}})? (\S+)$", metrics, re.MULTILINE)]
