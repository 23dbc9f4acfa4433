"""What a run would take, before it is started. Every assumption is in the text."""

from pathlib import Path

from pacos.config import Config
from pacos.engine import price_per_hour
from pacos.generate.prompts import list_prompt
from pacos.generate.request import new_tasks
from pacos.generate.seeds import Seed

# The published Alpaca set has 104 tokens per task with its labels, at 4.2 characters a token.
TOKENS_PER_TASK = 104
CHARACTERS_PER_TOKEN = 4.2

ACCEPTANCE = 0.6
TOKENS_PER_SECOND = 10_000


def estimate(config: Config, seeds: list[Seed], path: Path) -> list[str]:
    generate, asked = config.generate, new_tasks(config)
    prompt_tokens = _prompt_tokens(config, seeds)
    answer_tokens = min(asked * TOKENS_PER_TASK, generate.sampling.max_tokens)
    requests = -(-generate.target // max(1, int(answer_tokens / TOKENS_PER_TASK * ACCEPTANCE)))
    if generate.budget.requests is not None:
        requests = min(requests, generate.budget.requests)
    written = requests * answer_tokens
    hours = written / TOKENS_PER_SECOND / 3600
    price = price_per_hour(config)
    model = config.engine.model or config.model.base
    return [
        f"seeds     {len(seeds)} tasks in {path}",
        f"model     {model}, {f'served at {config.engine.url}' if config.engine.url else 'served on this machine'}",
        f"requests  about {requests:,} for {generate.target:,} tasks, {asked} asked for in each, if {ACCEPTANCE:.0%} "
        "are accepted; base models differ widely, so try generate.target=200 first",
        f"tokens    about {requests * prompt_tokens:,} read, {prompt_tokens} a prompt, and {written:,} written, "
        f"{TOKENS_PER_TASK} a task as in the published Alpaca set",
        f"time      about {hours:.2f} h at {TOKENS_PER_SECOND:,} written tokens/s, a 7B model on one data-centre GPU",
        f"cost      about {hours * price:.2f}, at {price:.2f} an hour"
        if price
        else "cost      unknown: engine.price_per_gpu_hour is not given",
    ]


def _prompt_tokens(config: Config, seeds: list[Seed]) -> int:
    """Mean tokens of a prompt, from its characters: the tokenizer may not be on this machine."""
    empty = len(list_prompt([], new_tasks(config)))
    example = sum(len(list_prompt([seed.task], 1)) for seed in seeds) / len(seeds) - len(list_prompt([], 1))
    return round((empty + config.generate.seeds_per_request * example) / CHARACTERS_PER_TOKEN)
