"""The cost of an engine: by the hour of its GPUs, by the token, or both."""

import contextlib
import time
from collections.abc import Iterator

from pacos.config import EngineConfig
from pacos.machine import hardware
from pacos.runs import Stage


def price_per_hour(engine: EngineConfig) -> float:
    """Price per hour of the whole engine, in the currency of engine.price_per_gpu_hour; 0 without a price.

    Each server at `engine.url` counts as data_parallel × tensor_parallel_size GPUs, one unless given.
    """
    if engine.price_per_gpu_hour is None:
        return 0.0
    if engine.data_parallel == "auto":
        gpus = 1 if engine.url else max(1, len(hardware().gpus))
    else:
        gpus = engine.data_parallel * int(engine.args.get("tensor_parallel_size", 1))
    return engine.price_per_gpu_hour * gpus * max(1, len(engine.urls))


def cost(engine: EngineConfig, seconds: float, prompt_tokens: int, completion_tokens: int) -> float:
    """Cost of an engine that ran for `seconds` and read and wrote these tokens; 0 without a price."""
    by_token = engine.price_per_million_tokens
    billed = by_token.prompt * prompt_tokens + by_token.completion * completion_tokens if by_token else 0.0
    return price_per_hour(engine) * seconds / 3600 + billed / 1e6


@contextlib.contextmanager
def charged(stage: Stage, engine: EngineConfig) -> Iterator[None]:
    """Set the stage's cost from the seconds that pass inside and the tokens that it has counted by the end."""
    began = time.monotonic()
    yield
    seconds = time.monotonic() - began
    stage.cost = round(cost(engine, seconds, stage.tokens["prompt"], stage.tokens["completion"]), 4)
