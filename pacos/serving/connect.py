"""Opens an engine: the servers at `engine.url`, one lent by the caller, or one that is started here.

async with open_engine(config, run.dir, adapters={"tuned": path}) as engine:
    answer = await engine.complete(prompt_ids, Sampling(max_tokens=128), adapter="tuned")
"""

import asyncio
import contextlib
import json
import logging
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from pacos.config import Config, EngineConfig
from pacos.errors import ConfigError
from pacos.models import load_tokenizer
from pacos.serving.address import is_loopback
from pacos.serving.cpu import Workload, runs_on_cpu
from pacos.serving.endpoint import ServerAddress
from pacos.serving.engine import Engine
from pacos.serving.flags import in_flight, serving_dtype
from pacos.serving.merged import merged_copy
from pacos.serving.server import ManagedServer

log = logging.getLogger("pacos")

# A server that the caller has started for several commands: JSON of model, url and key.
LENT_ENGINE = "PACOS_LENT_ENGINE"


@contextlib.asynccontextmanager
async def open_engine(
    config: Config,
    run_dir: Path,
    *,
    model: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    workload: Workload | None = None,
) -> AsyncIterator[Engine]:
    """Connect to `engine.url`, or to the server lent by the caller where it serves what is needed, or start one.

    `model` is the teacher unless given. Where adapters are served merged (see `serves_merged`), it takes exactly one,
    and the engine answers for it alone. `workload` decides how a CPU engine is started.

    Raises EngineError (no answer, refused, died while starting) and ModelError (model or adapter not found).
    """
    model = model or config.teacher
    adapters, workload = adapters or {}, workload or Workload()
    tokenizer = await asyncio.to_thread(load_tokenizer, model, config.model)
    merged = bool(adapters) and serves_merged(config)
    with contextlib.ExitStack() as stack:
        server = copy = None
        addresses = _running_servers(config.engine, model, merged=merged)
        if not addresses:
            if merged:
                dtype = serving_dtype(config.model.dtype)
                merging = merged_copy(_only(adapters), model, config.model, run_dir / "merged", dtype=dtype)
                copy = await asyncio.to_thread(stack.enter_context, merging)
            loaded = [] if copy else list(adapters.values())
            server = ManagedServer.of(config, run_dir, model, loaded, copy=copy, workload=workload)
            stack.callback(server.close)
            await asyncio.to_thread(server.start)
            addresses = [ServerAddress(server.url, server.key)]
        requests = server.in_flight if server else in_flight(config, model, workload)
        engine = Engine(config.engine, tokenizer, addresses[0], server, in_flight=requests, others=addresses[1:])
        try:
            await engine.connect(adapters, copy, model=model if config.engine.url else None)
            yield engine
        finally:
            await engine.close()


def serves_merged(config: Config) -> bool:
    """Whether adapters are served as merged copies, one server after another, instead of on their base's server.

    Raises ConfigError for `evaluate.serve: merged` with `engine.url`.
    """
    wanted = config.evaluate.serve
    if wanted == "merged" and config.engine.url:
        raise ConfigError(
            "a server given by `engine.url` cannot be started with a merged copy",
            where="evaluate.serve",
            todo="leave it at auto, or serve a merged model there (`pacos merge`) and name it in evaluate.models",
        )
    return wanted == "merged" or (wanted == "auto" and not config.engine.url and runs_on_cpu())


def _only(adapters: Mapping[str, Path]) -> Path:
    if len(adapters) != 1:
        raise ValueError(f"merged copies are served one at a time, not {sorted(adapters)}")
    return next(iter(adapters.values()))


def _running_servers(engine: EngineConfig, model: str, *, merged: bool) -> list[ServerAddress]:
    if engine.urls:
        return [ServerAddress(url.rstrip("/"), key_for(url, engine.api_key_env)) for url in engine.urls]
    lent = json.loads(os.environ.get(LENT_ENGINE, "{}"))
    return [ServerAddress(lent["url"], lent["key"])] if lent.get("model") == model and not merged else []


def key_for(url: str, variable: str) -> str:
    """The key for the server at `url`, and a line that says where it goes, before it does."""
    key = os.environ.get(variable)
    if not key:
        return "EMPTY"
    parts = urlsplit(url)
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        log.warning("the key in $%s goes to %s unencrypted: whoever is on the way can read it", variable, url)
    else:
        log.info("the key in $%s goes to %s", variable, url)
    return key
