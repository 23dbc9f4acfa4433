"""The generation stage: seed tasks → `dataset/`.

    requests ─▶ engine ─▶ journal ─▶ parse ─▶ rules ─▶ novelty ─▶ dataset.jsonl
      (seed, i)          (as they come)   (in request order)   └─▶ rejected.jsonl, each with its reason

With preset self-instruct the lists hold instructions alone, and `bootstrap.py` asks on about each that is accepted.

A run that was stopped, at any moment and by anything, goes on with the same command: the journal's answers
are committed again, in order, and only what was never answered is asked.
"""

import asyncio
import logging
from pathlib import Path
from typing import Any

from pacos.config import Config
from pacos.errors import RunError
from pacos.generate.bootstrap import Bootstrap
from pacos.generate.budget import Budget, StoppedBy
from pacos.generate.card import write_alpaca_json, write_card
from pacos.generate.estimate import estimate, expected_tokens
from pacos.generate.journal import Journal, request_settings
from pacos.generate.live import live_figures
from pacos.generate.pool import Pool
from pacos.generate.prompting.request import RequestMaker, examples_per_request
from pacos.generate.scheduler import ask_ahead
from pacos.generate.seeds import Seed, known_files, known_tasks, load_seeds, seeds_path
from pacos.generate.session import Session, check_same_prompt
from pacos.generate.stats import dataset_stats
from pacos.progress import bar
from pacos.records import Task, read_tasks, write_json
from pacos.runs import Run
from pacos.serving.cpu import Workload
from pacos.serving.engine import open_engine

log = logging.getLogger("pacos")


def main(config: Config, run: Run) -> None:
    """Generate until the target or a budget is reached; does nothing where that has been done.

    Raises DataError (seeds), RunError (other settings' answers, full disk, nothing accepted), EngineError, ConfigError.
    """
    path = seeds_path(config.generate.seeds)
    seeds = load_seeds(path, at_least=examples_per_request(config))
    known = known_tasks(config.generate.known)
    decides = (config.seed, config.model, config.engine.model, config.generate)
    if run.is_done("generate", *decides):
        log.info("generate: done already, see %s", run.dataset)
        return
    with run.stage("generate", *decides, inputs=[path, *known_files(config.generate.known)]) as stage:
        stage.outputs.append(run.dataset)
        journal = Journal(run.dataset, request_settings(config, path))
        budget = Budget(config, journal)
        try:
            stats = asyncio.run(_generate(config, run, seeds, known, journal, budget))
        finally:
            journal.close()
            stage.tokens = {"prompt": journal.prompt_tokens, "completion": journal.completion_tokens}
            stage.cost = round(budget.cost, 4)
        _finish(config, run.dataset, path, len(seeds), stats)


def plan(config: Config) -> list[str]:
    """What a run would do, and about what it would take. Checks the seeds; starts nothing."""
    path = seeds_path(config.generate.seeds)
    return estimate(config, load_seeds(path, at_least=examples_per_request(config)), path)


async def _generate(
    config: Config, run: Run, seeds: list[Seed], known: list[tuple[str, Task]], journal: Journal, budget: Budget
) -> dict[str, Any]:
    """Run until something stops it; the statistics of what was made."""
    generate = config.generate
    workload = Workload(expected_tokens(config, seeds), generate.sampling.max_tokens)
    async with open_engine(config, run.dir, workload=workload) as engine:
        in_flight = engine.in_flight
        if generate.preset == "self-instruct":
            in_flight = min(in_flight, max(1, generate.window // 4))  # each list brings about six more requests
        elif in_flight * 8 > generate.window:
            log.warning("generate: a window under %d lets slow answers hold up the engine", in_flight * 8)
        journal.start_clock()
        maker = RequestMaker(config, seeds, engine.tokenizer, engine.max_model_len)
        if first := journal.answers.get(0):
            check_same_prompt(first, maker.make(0), journal.path)  # before anything is written; the rest when committed
        bootstraps = generate.preset == "self-instruct"
        with (
            Pool(
                run.dataset,
                seeds,
                generate.filters,
                generate.target,
                instructions_only=bootstraps,
                known=known,
            ) as pool,
            bar("generate", generate.target, "instructions" if bootstraps else "tasks") as progress,
        ):
            session_type = Bootstrap if bootstraps else Session
            async with (
                session_type(engine, maker, journal, pool, budget, progress) as session,
                live_figures(session, engine),
            ):
                await ask_ahead(
                    session.ask,
                    answered=journal.answers,
                    record=journal.append,
                    commit=session.commit,
                    may_ask=session.may_ask,
                    window=generate.window,
                    in_flight=in_flight,
                )
    return dataset_stats(
        pool.tally,
        stopped_by=str(session.stopped_by or budget.stopped_by(pool.tally)),
        answered=journal.count,
        prompt_tokens=journal.prompt_tokens,
        completion_tokens=journal.completion_tokens,
        seconds=journal.seconds,
        cost=budget.cost,
    )


def _finish(config: Config, folder: Path, seeds: Path, seed_count: int, stats: dict[str, Any]) -> None:
    write_json(folder / "stats.json", stats)
    write_card(folder, config, seeds, seed_count, stats)
    funnel = stats["funnel"]
    reasons = ", ".join(f"{reason} {count}" for reason, count in funnel["rejected"].items()) or "none"
    log.info(
        "generate: %d of %d items accepted (stopped by %s); left out: %s",
        funnel["accepted"], funnel["items"], stats["stopped_by"], reasons,
    )  # fmt: skip
    if not funnel["accepted"]:
        raise RunError(
            f"not one of {funnel['items']} items was accepted (left out: {reasons})",
            where=str(folder / "rejected.jsonl"),
            todo="read what the model wrote there; a larger base model, or a longer context, is the usual answer",
        )
    write_alpaca_json(folder / "alpaca_data.json", read_tasks(folder))
    if stats["stopped_by"] != StoppedBy.TARGET:
        log.warning("generate: stopped by generate.budget.%s before the target", stats["stopped_by"])
