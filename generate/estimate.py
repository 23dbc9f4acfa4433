"""What a run would take, before it is started. Every assumption is in the text."""

from dataclasses import dataclass
from pathlib import Path

from pacos.config import Config
from pacos.generate.prompting.alpaca import list_prompt
from pacos.generate.prompting.classify import classify_prompt
from pacos.generate.prompting.instances import instances_prompt
from pacos.generate.prompting.instructions import instructions_prompt
from pacos.generate.prompting.request import examples_per_request, new_tasks
from pacos.generate.seeds import Seed
from pacos.serving.cost import cost

# The published Alpaca set has 104 tokens per task with its labels, at 4.2 characters a token.
TOKENS_PER_TASK = 104
CHARACTERS_PER_TOKEN = 4.2

# Self-Instruct's published set: 15.9 words an instruction, and 1.57 instances of 19 to 32 words each.
TOKENS_PER_INSTRUCTION = 25
TOKENS_PER_ANSWER = 70
INSTANCES_PER_INSTRUCTION = 1.57

ACCEPTANCE = 0.6
TOKENS_PER_SECOND = 10_000


@dataclass(frozen=True, slots=True)
class Amount:
    """Requests sent, tokens read and written, tasks accepted, of a whole run."""

    requests: int
    read: int
    written: int
    tasks: float

    def times(self, share: float) -> "Amount":
        return Amount(
            round(share * self.requests), round(share * self.read), round(share * self.written), share * self.tasks
        )


def expected_tokens(config: Config, seeds: list[Seed]) -> int:
    """About how many tokens a whole run generates."""
    return _within_budget(config, seeds).written


def estimate(config: Config, seeds: list[Seed], path: Path) -> list[str]:
    amount = _within_budget(config, seeds)
    hours = amount.written / TOKENS_PER_SECOND / 3600
    total = cost(config, hours * 3600, amount.read, amount.written)
    model = config.teacher
    return [
        f"seeds     {len(seeds)} tasks in {path}",
        f"model     {model}, {f'served at {config.engine.url}' if config.engine.url else 'served on this machine'}",
        f"requests  about {amount.requests:,} for {_wanted(config)}, if {ACCEPTANCE:.0%} are accepted; base models "
        "differ widely, so try generate.target=200 first",
        f"tokens    about {amount.read:,} read, {amount.read / amount.requests:.0f} a prompt, and {amount.written:,} "
        f"written, {amount.written / max(amount.tasks, 1):.0f} an accepted task, by the lengths of the published set",
        f"time      about {hours:.2f} h at {TOKENS_PER_SECOND:,} written tokens/s, a 7B model on one data-centre GPU",
        f"cost      about {total:.2f}, or {1000 * total / max(amount.tasks, 1):.2f} per 1,000 accepted tasks"
        if total
        else "cost      unknown: neither engine.price_per_gpu_hour nor engine.price_per_million_tokens is given",
    ]


def _wanted(config: Config) -> str:
    target, asked = config.generate.target, new_tasks(config)
    if config.generate.preset == "self-instruct":
        return f"{target:,} instructions, {asked} asked for in each list and two more requests about each accepted one"
    return f"{target:,} tasks, {asked} asked for in each"


def _within_budget(config: Config, seeds: list[Seed]) -> Amount:
    amount = _amount(config, seeds)
    limit = config.generate.budget.requests
    return amount.times(min(1.0, limit / amount.requests)) if limit else amount


def _amount(config: Config, seeds: list[Seed]) -> Amount:
    generate, bootstraps = config.generate, config.generate.preset == "self-instruct"
    per_item = TOKENS_PER_INSTRUCTION if bootstraps else TOKENS_PER_TASK
    answer_tokens = min(new_tasks(config) * per_item, generate.sampling.max_tokens)
    lists = -(-generate.target // max(1, int(answer_tokens / per_item * ACCEPTANCE)))
    read, written = lists * _prompt_tokens(config, seeds), lists * answer_tokens
    if not bootstraps:
        return Amount(lists, read, written, generate.target)
    return Amount(
        lists + 2 * generate.target,
        read + generate.target * _later_prompt_tokens(),
        written + generate.target * (generate.classify.max_tokens + TOKENS_PER_ANSWER),
        generate.target * INSTANCES_PER_INSTRUCTION,
    )


def _prompt_tokens(config: Config, seeds: list[Seed]) -> int:
    """Mean tokens of a list's prompt, from its characters: the tokenizer may not be on this machine."""
    examples = examples_per_request(config)
    if config.generate.preset == "self-instruct":
        example = sum(len(f"1. {seed.task.instruction}\n") for seed in seeds) / len(seeds)
        return round((len(instructions_prompt([])) + examples * example) / CHARACTERS_PER_TOKEN)
    empty = len(list_prompt([], new_tasks(config)))
    example = sum(len(list_prompt([seed.task], 1)) for seed in seeds) / len(seeds) - len(list_prompt([], 1))
    return round((empty + examples * example) / CHARACTERS_PER_TOKEN)


def _later_prompt_tokens() -> int:
    """Tokens read about one accepted instruction, by both later phases together."""
    later = (classify_prompt(""), instances_prompt("", "no"))
    return round(sum(map(len, later)) / CHARACTERS_PER_TOKEN) + 2 * TOKENS_PER_INSTRUCTION
