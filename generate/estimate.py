"""What a run would take, before it is started. Every assumption is stated in the text."""

from dataclasses import dataclass
from pathlib import Path

from pacos.config import Config, GenerateConfig
from pacos.generate.presets import Preset, preset
from pacos.generate.prompting.request import examples_per_request, new_items
from pacos.seeds import Seed
from pacos.serving.cost import cost

# Of the published Alpaca set.
CHARACTERS_PER_TOKEN = 4.2

# Self-Instruct's published set: 1.57 instances per instruction, of 19 to 32 words each.
INSTANCES_PER_INSTRUCTION = 1.57
TOKENS_PER_INSTANCES_ANSWER = 70

ACCEPTANCE = 0.6
TOKENS_PER_SECOND = 10_000


@dataclass(frozen=True, slots=True)
class ExpectedWork:
    """Requests sent, tokens read and written, and tasks accepted in a whole run."""

    requests: int
    read: int
    written: int
    tasks: float

    def scaled(self, share: float) -> "ExpectedWork":
        return ExpectedWork(
            round(share * self.requests), round(share * self.read), round(share * self.written), share * self.tasks
        )


def expected_tokens(generate: GenerateConfig, seeds: list[Seed]) -> int:
    """Estimated number of tokens that a whole run generates."""
    return _within_budget(generate, seeds).written


def expected_requests(generate: GenerateConfig, seeds: list[Seed]) -> int:
    """Estimated number of requests of a whole run."""
    return max(1, _within_budget(generate, seeds).requests)


def estimate_lines(config: Config, seeds: list[Seed], path: Path) -> list[str]:
    """The estimate of a run as `--dry-run` prints it; `path` is where the seeds came from."""
    work = _within_budget(config.generate, seeds)
    hours = work.written / TOKENS_PER_SECOND / 3600
    total = cost(config.engine, hours * 3600, work.read, work.written)
    model, places = config.teacher, ", ".join(config.engine.urls)
    return [
        f"seeds     {len(seeds)} tasks in {path}",
        f"model     {model}, served {f'at {places}' if places else 'on this machine'}",
        f"requests  about {work.requests:,} for {_wanted(config.generate)}, if {ACCEPTANCE:.0%} are accepted; "
        "base models differ widely, so try generate.target=200 first",
        f"tokens    about {work.read:,} read, {work.read / work.requests:.0f} a prompt, and {work.written:,} "
        f"written, {work.written / max(work.tasks, 1):.0f} an accepted task, by the lengths of the published set",
        f"time      about {hours:.2f} h at {TOKENS_PER_SECOND:,} written tokens/s, a 7B model on one data-centre GPU",
        f"cost      about {total:.2f}, or {1000 * total / max(work.tasks, 1):.2f} per 1,000 accepted tasks"
        if total
        else "cost      unknown: neither engine.price_per_gpu_hour nor engine.price_per_million_tokens is given",
    ]


def _wanted(generate: GenerateConfig) -> str:
    target, asked = generate.target, new_items(generate)
    if phases := preset(generate.preset).phases:
        more = "one more request" if len(phases) == 1 else f"{len(phases)} more requests"
        return f"{target:,} instructions, {asked} asked for in each list and {more} about each accepted one"
    return f"{target:,} tasks, {asked} asked for in each"


def _within_budget(generate: GenerateConfig, seeds: list[Seed]) -> ExpectedWork:
    work = _expected_work(generate, seeds)
    limit = generate.budget.requests
    return work.scaled(min(1.0, limit / work.requests)) if limit else work


def _expected_work(generate: GenerateConfig, seeds: list[Seed]) -> ExpectedWork:
    chosen = preset(generate.preset)
    per_item = chosen.lists.item_tokens
    answer_tokens = min(new_items(generate) * per_item, generate.sampling.max_tokens)
    lists = -(-generate.target // max(1, int(answer_tokens / per_item * ACCEPTANCE)))
    read, written = lists * _prompt_tokens(generate, seeds), lists * answer_tokens
    if not chosen.follow_ups:
        return ExpectedWork(lists, read, written, generate.target)
    answer_lengths = {"classify": generate.classify.max_tokens, "instances": TOKENS_PER_INSTANCES_ANSWER}
    return ExpectedWork(
        lists + len(chosen.phases) * generate.target,
        read + generate.target * _follow_up_prompt_tokens(chosen, per_item),
        written + generate.target * sum(answer_lengths[phase] for phase in chosen.phases),
        generate.target * INSTANCES_PER_INSTRUCTION,
    )


def _prompt_tokens(generate: GenerateConfig, seeds: list[Seed]) -> int:
    """Mean tokens of a list's prompt, from its characters: the tokenizer may not be on this machine."""
    prompt = preset(generate.preset).lists.prompt
    empty = len(prompt([], new_items(generate)))
    example = sum(len(prompt([seed.task], 1)) for seed in seeds) / len(seeds) - len(prompt([], 1))
    return round((empty + examples_per_request(generate) * example) / CHARACTERS_PER_TOKEN)


def _follow_up_prompt_tokens(chosen: Preset, instruction_tokens: int) -> int:
    """Tokens of the follow-up prompts about one instruction, one of each phase."""
    prompts = {follow_up.phase: follow_up.prompt("") for follow_up in chosen.follow_ups}
    return round(sum(map(len, prompts.values())) / CHARACTERS_PER_TOKEN) + len(prompts) * instruction_tokens
