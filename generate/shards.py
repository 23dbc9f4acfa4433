"""`pacos generate --shard k/n`: one of n machines asks its share of the requests, into a journal of its own.

A list's request depends on the configuration and its number alone where prompts show no accepted tasks. So it does not
matter who asks it: `pacos curate` commits the answers of all shards in the order of their requests, and writes what one
machine would have written (`union.py`).
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pacos.config import Config, GenerateConfig
from pacos.errors import ConfigError
from pacos.generate.budget import Budget
from pacos.generate.estimate import expected_requests, expected_tokens
from pacos.generate.journal import Journal, request_settings
from pacos.generate.pipeline import answering_weights, decisions, refuse_wrong_args, what_answers
from pacos.generate.presets import preset
from pacos.generate.prompting.request import RequestMaker, examples_per_request
from pacos.generate.session import answer_to, check_same_prompt
from pacos.progress import bar
from pacos.results import plain
from pacos.runs import Run
from pacos.seeds import Seed, load_seeds, seeds_path
from pacos.serving.connect import open_engine
from pacos.serving.cpu import Workload
from pacos.serving.requests import work_off

log = logging.getLogger("pacos")

FOLDER = "shards"


@dataclass(frozen=True, slots=True)
class Shard:
    """The `number`-th of `of` shards, from 1 on: it asks every `of`-th request.

    So the requests of a wave are spread evenly, and more of them leave those that are answered where they are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """From `k/n`. Raises ConfigError."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"must be k/n with k from 1 to n, not {text!r}", where="--shard", todo="write e.g. 1/8")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def holding(cls, request: int, of: int) -> "Shard":
        """The shard that asks a request."""
        return cls(request % of + 1, of)

    def requests(self, until: int) -> range:
        """Numbers of the requests that it asks, of those below `until`."""
        return range(self.number - 1, until, self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


def generate_shard(config: Config, shard: Shard, until: int | None = None) -> None:
    """Ask the shard's requests below `until` (by the estimate, what the target takes) that are not answered yet.

    Writes `<run>/shards/k-of-n/`, a run directory with a journal. Raises ConfigError where requests depend on accepted
    tasks, and as `pipeline.main` does.
    """
    _refuse_feedback(config.generate)
    path = seeds_path(config.generate.seeds)
    seeds = load_seeds(path, at_least=examples_per_request(config.generate))
    until = requests_in_all(config.generate, seeds, until)
    with Run.open(_own_run(config, shard)) as run:
        header = {"number": shard.number, "of": shard.of, "until": until}
        journal = Journal(run.dir, request_settings(config, path), answering_weights(config), header)
        missing = [number for number in shard.requests(until) if number not in journal.answers]
        with contextlib.closing(journal):
            if missing:
                with run.stage("generate", *decisions(config), header, inputs=[path]) as stage:
                    stage.outputs.append(journal.path)
                    budget = Budget(config.generate, config.engine, journal)
                    try:
                        asyncio.run(_ask(config, run, seeds, journal, budget, missing))
                    finally:
                        stage.tokens, stage.cost = plain(journal.tokens), round(budget.cost, 4)
        _report(shard, until, journal)


def plan(config: Config, shard: Shard, until: int | None = None) -> list[str]:
    """What a shard would ask. Raises ConfigError as `generate_shard`, and for wrong `engine.args`; starts nothing."""
    _refuse_feedback(config.generate)
    refuse_wrong_args(config)
    seeds = load_seeds(seeds_path(config.generate.seeds), at_least=examples_per_request(config.generate))
    until = requests_in_all(config.generate, seeds, until)
    return [
        f"shard     {shard}: {len(shard.requests(until)):,} of {until:,} requests, "
        f"into {_own_run(config, shard).run_dir}",
    ]


def requests_in_all(generate: GenerateConfig, seeds: list[Seed], until: int | None) -> int:
    """Requests of all shards together: as asked, or estimated; no more than `generate.budget.requests`."""
    wanted = expected_requests(generate, seeds) if until is None else until
    return min(wanted, generate.budget.requests or wanted)


def _refuse_feedback(generate: GenerateConfig) -> None:
    reason = ""
    if preset(generate.preset).follow_ups:
        reason = "its follow-ups are about instructions that the pool has accepted"
    elif generate.machine_per_request:
        reason = "with generate.machine_per_request its prompts show tasks that the pool has accepted"
    if reason:
        raise ConfigError(
            f"preset {generate.preset} cannot be sharded: {reason}, and a shard has no pool",
            where="--shard",
            todo="run it as one `pacos generate` before several servers: engine.url takes a list",
        )


def _own_run(config: Config, shard: Shard) -> Config:
    folder = {"runs_dir": str(config.run_dir / FOLDER), "name": f"{shard.number}-of-{shard.of}"}
    return config.model_copy(update=folder)


async def _ask(
    config: Config, run: Run, seeds: list[Seed], journal: Journal, budget: Budget, missing: Sequence[int]
) -> None:
    generate = config.generate
    share = len(missing) / expected_requests(generate, seeds)
    workload = Workload(round(share * expected_tokens(generate, seeds)), generate.sampling.max_tokens)
    async with open_engine(config, run.dir, workload=workload) as engine:
        journal.answered_by(what_answers(config, engine))
        maker = RequestMaker(config, seeds, engine.tokenizer, engine.max_model_len)
        for answered in sorted(journal.answers)[:1]:
            check_same_prompt(journal.answers[answered], maker.make(answered), journal.path)
        journal.start_clock()
        with bar("generate", len(journal.answers) + len(missing), "answers", initial=len(journal.answers)) as progress:
            await work_off(missing, _asking(maker, engine, journal, budget, progress), engine.in_flight)


def _asking(maker: RequestMaker, engine: Any, journal: Journal, budget: Budget, progress: Any) -> Any:
    async def ask(number: int) -> None:
        if budget.time_or_money():
            return
        await journal.append(await answer_to(maker.make(number), engine))
        progress.update()

    return ask


def _report(shard: Shard, until: int, journal: Journal) -> None:
    asked = shard.requests(until)
    left = [number for number in asked if number not in journal.answers]
    log.info("shard %s: %d of its %d requests below %d are answered", shard, len(asked) - len(left), len(asked), until)
    if left:
        log.warning(
            "shard %s: stopped by generate.budget before its requests from %d on; a budget of seconds or money is "
            "each shard's", shard, left[0],
        )  # fmt: skip
