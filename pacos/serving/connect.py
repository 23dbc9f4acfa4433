"""Opens an engine: the server at `engine.url`, one lent by the caller, or one that is started here.

async with open_engine(config, run.dir, adapters={"tuned": path}) as engine:
    answer = await engine.complete(prompt_ids, Sampling(max_tokens=128), adapter="tuned")
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from pacos.config import Config, EngineConfig
from pacos.errors import ConfigError
from pacos.models import load_tokenizer
from pacos.serving.cpu import Workload
from pacos.serving.engine import Engine, ServerAddress
from pacos.serving.flags import in_flight, runs_on_cpu, serving_dtype
from pacos.serving.merged import merged_copy
from pacos.serving.server import ManagedServer

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
        address = _running_server(config.engine, model, merged=merged)
        if address is None:
            if merged:
                dtype = serving_dtype(config.model.dtype)
                merging = merged_copy(_only(adapters), model, config.model, run_dir / "merged", dtype=dtype)
                copy = await asyncio.to_thread(stack.enter_context, merging)
            loaded = [] if copy else list(adapters.values())
            server = ManagedServer.of(config, run_dir, model, loaded, copy=copy, workload=workload)
            stack.callback(server.close)
            await asyncio.to_thread(server.start)
            address = ServerAddress(server.url, server.key)
        requests = server.in_flight if server else in_flight(config, model, workload)
        engine = Engine(config.engine, tokenizer, address, server, in_flight=requests)
        try:
            await engine.connect(adapters, copy)
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


def _running_server(engine: EngineConfig, model: str, *, merged: bool) -> ServerAddress | None:
    if engine.url:
        return ServerAddress(engine.url.rstrip("/"), os.environ.get(engine.api_key_env, "EMPTY"))
    lent = json.loads(os.environ.get(LENT_ENGINE, "{}"))
    return ServerAddress(lent["url"], lent["key"]) if lent.get("model") == model and not merged else None
