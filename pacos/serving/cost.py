"""What an engine costs: by the hour of its GPUs, by the token, or both."""

from pacos.config import Config
from pacos.runs import hardware


def price_per_hour(config: Config) -> float:
    """Of the whole engine, in the currency of engine.price_per_gpu_hour; 0 where no price is given.

    A server at `engine.url` counts as data_parallel × tensor_parallel_size GPUs, one unless given.
    """
    engine = config.engine
    if engine.price_per_gpu_hour is None:
        return 0.0
    if engine.data_parallel == "auto":
        gpus = 1 if engine.url else max(1, len(hardware()["gpus"]))
    else:
        gpus = engine.data_parallel * int(engine.args.get("tensor_parallel_size", 1))
    return engine.price_per_gpu_hour * gpus


def cost(config: Config, seconds: float, prompt_tokens: int, completion_tokens: int) -> float:
    """Of an engine that was up for `seconds` and read and wrote these tokens; 0 where no price is given."""
    by_token = config.engine.price_per_million_tokens
    billed = by_token.prompt * prompt_tokens + by_token.completion * completion_tokens if by_token else 0.0
    return price_per_hour(config) * seconds / 3600 + billed / 1e6
