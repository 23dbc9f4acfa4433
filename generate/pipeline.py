"""The generation stage: seed tasks → `dataset/`.

    requests ─▶ engine ─▶ journal ─▶ parse ─▶ rules ─▶ novelty ─▶ dataset.jsonl
      (seed, i)          (as they come)   (in request order)   └─▶ rejected.jsonl, each with its reason

With follow-ups (preset self-instruct) the lists have instructions alone, and `follow_ups.py` asks about accepted ones.

A run that was stopped, at any time and for any reason, resumes with the same command: the answers in the journal are
committed again, in order, and only requests that were never answered are sent.
"""

import asyncio
import contextlib
import logging
from pathlib import Path

from pacos.config import Config
from pacos.errors import ModelError, RunError
from pacos.generate.budget import Budget, StoppedBy
from pacos.generate.card import write_alpaca_json, write_card
from pacos.generate.estimate import estimate_lines, expected_tokens
from pacos.generate.follow_ups import FollowUpSession
from pacos.generate.journal import COMPANION, Journal, read_companion, refuse_other_source, request_settings
from pacos.generate.known import known_files, known_tasks
from pacos.generate.pool import Pool
from pacos.generate.pool_snapshot import Earlier
from pacos.generate.presets import Preset, preset
from pacos.generate.prompting.request import RequestMaker, examples_per_request
from pacos.generate.scheduler import ask_ahead
from pacos.generate.session import Session, check_same_prompt
from pacos.generate.stats import EngineUsage, dataset_stats
from pacos.models import model_sha256
from pacos.progress import bar
from pacos.records import Task, read_tasks
from pacos.results import plain, write_result
from pacos.results.dataset import DatasetStats
from pacos.runs import Run
from pacos.seeds import Seed, load_seeds, seeds_path
from pacos.serving.connect import open_engine
from pacos.serving.cpu import Workload
from pacos.serving.deterministic import how_answers_repeat
from pacos.serving.engine import Engine
from pacos.serving.engine_args import engine_flags

log = logging.getLogger("pacos")


def main(config: Config, run: Run) -> None:
    """Generate until the target or a budget is reached; does nothing if that is done already.

    Raises DataError (seeds), RunError (answers to other settings, full disk, nothing accepted), EngineError and
    ConfigError.
    """
    path = seeds_path(config.generate.seeds)
    seeds = load_seeds(path, at_least=examples_per_request(config.generate))
    known = known_tasks(config.generate.known)
    decides = decisions(config)
    if run.is_done("generate", *decides):
        refuse_other_weights(config, run.dataset)
        log.info("generate: done already, see %s", run.dataset)
        return
    # Before the stage begins: a refusal changes nothing, in the manifest neither.
    journal = Journal(run.dataset, request_settings(config, path), answering_weights(config))
    with (
        contextlib.closing(journal),
        run.stage("generate", *decides, inputs=[path, *known_files(config.generate.known)]) as stage,
    ):
        stage.outputs.append(run.dataset)
        budget = Budget(config.generate, config.engine, journal)
        try:
            stats = asyncio.run(_generate(config, run, seeds, known, journal, budget))
        finally:
            journal.close()
            stage.tokens = plain(journal.tokens)
            stage.cost = round(budget.cost, 4)
        _finish(config, run.dataset, path, len(seeds), stats)


def answering_weights(config: Config) -> dict[str, str]:
    """A journal's source, as far as it is known without an engine: the weights' fingerprint. Raises ModelError.

    Empty for a server of the user's, which tells what it serves, and for a hub model that is not downloaded yet.
    """
    sha256 = "" if config.engine.url else model_sha256(config.teacher, config.model)
    return {"sha256 of the weights": sha256} if sha256 else {}


def what_answers(config: Config, engine: Engine) -> dict[str, str]:
    """A journal's source, with the engine open. Raises ModelError."""
    weights = {"the served model": str(engine.served)} if config.engine.url else answering_weights(config)
    return weights | how_answers_repeat(config)


def refuse_other_weights(config: Config, folder: Path) -> None:
    """Raise RunError where a finished dataset was written by other weights than lie under the model's path now."""
    companion = folder / COMPANION
    if not (before := read_companion(companion)):
        return
    try:
        now = answering_weights(config)
    except ModelError:  # that it was deleted since changes nothing
        return
    refuse_other_source(before["source"], now, companion)


def decisions(config: Config) -> tuple[object, ...]:
    """All that decides the dataset and is no file. A key that earlier versions lack counts only where it is set."""
    later = set() if config.generate.forbid_eos else {"forbid_eos"}
    generate = config.generate.model_dump(mode="json", exclude=later)
    repeats = ("engine.deterministic",) if config.engine.deterministic else ()
    return config.seed, config.model, config.engine.model, generate, *repeats


def plan(config: Config) -> list[str]:
    """What a run would do, with an estimate of what it would take. Checks seeds and `engine.args`; starts nothing."""
    refuse_wrong_args(config)
    path = seeds_path(config.generate.seeds)
    return estimate_lines(config, load_seeds(path, at_least=examples_per_request(config.generate)), path)


def refuse_wrong_args(config: Config) -> None:
    """Raise ConfigError for `engine.args` with which no engine would start; starts nothing."""
    if not config.engine.url:
        engine_flags(config)


async def _generate(
    config: Config, run: Run, seeds: list[Seed], known: list[tuple[str, Task]], journal: Journal, budget: Budget
) -> DatasetStats:
    """Run until the target or a limit is reached; return the dataset's statistics."""
    generate, chosen = config.generate, preset(config.generate.preset)
    workload = Workload(expected_tokens(config.generate, seeds), generate.sampling.max_tokens)
    async with open_engine(config, run.dir, workload=workload) as engine:
        journal.answered_by(what_answers(config, engine))
        maker = RequestMaker(config, seeds, engine.tokenizer, engine.max_model_len)
        if first := journal.answers.get(0):
            # Before anything is written; the other answers are checked when they are committed.
            check_same_prompt(first, maker.make(0), journal.path)
        journal.start_clock()
        session_type = FollowUpSession if chosen.follow_ups else Session
        with (
            Pool(
                run.dataset,
                seeds,
                generate.filters,
                generate.target,
                lists=chosen.lists,
                known=known,
                remembers=generate.machine_per_request > 0 or bool(chosen.follow_ups),
                earlier=Earlier(journal.answers, generate.budget.model_dump(mode="json")),
            ) as pool,
            bar("generate", generate.target, chosen.lists.unit) as progress,
        ):
            async with (
                session_type(engine, maker, journal, pool, budget, progress) as session,
                session.live_progress(),
            ):
                await ask_ahead(
                    session.ask,
                    answered=journal.answers,
                    record=journal.append,
                    commit=session.commit,
                    may_ask=session.may_ask,
                    window=generate.window,
                    in_flight=_lists_in_flight(engine.in_flight, generate.window, chosen),
                )
    usage = EngineUsage(journal.count, journal.tokens, journal.seconds, budget.cost)
    return dataset_stats(pool.tally, str(session.stopped_by or budget.stopped_by(pool.tally)), usage)


def _lists_in_flight(in_flight: int, window: int, chosen: Preset) -> int:
    """How many lists may be asked for at a time, of `in_flight` requests that the engine takes."""
    if chosen.follow_ups:
        return min(in_flight, max(1, window // 4))  # each list brings about six follow-ups
    if in_flight * 8 > window:
        log.warning("generate: a window under %d lets slow answers hold up the engine", in_flight * 8)
    return in_flight


def _finish(config: Config, folder: Path, seeds: Path, seed_count: int, stats: DatasetStats) -> None:
    """Write the statistics, the card and `alpaca_data.json`. Raises RunError if nothing was accepted."""
    write_result(folder / "stats.json", stats)
    write_card(folder, config, seeds, seed_count, stats)
    funnel = stats.funnel
    reasons = ", ".join(f"{reason} {count}" for reason, count in funnel.rejected.items()) or "none"
    log.info(
        "generate: %d of %d items accepted (stopped by %s); left out: %s",
        funnel.accepted, funnel.items, stats.stopped_by, reasons,
    )  # fmt: skip
    if not funnel.accepted:
        raise RunError(
            f"not one of {funnel.items} items was accepted (left out: {reasons})",
            where=str(folder / "rejected.jsonl"),
            todo="read there what the model wrote; usually a larger base model or a longer context helps",
        )
    write_alpaca_json(folder / "alpaca_data.json", read_tasks(folder))
    if stats.stopped_by != StoppedBy.TARGET:
        log.warning("generate: stopped by generate.budget.%s before the target", stats.stopped_by)
