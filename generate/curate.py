"""Datasets without an engine: from a journal of answers, or from existing tasks."""

import dataclasses
import json
import logging
from pathlib import Path

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import RunError
from pacos.generate.follow_ups import write_list
from pacos.generate.journal import read_responses
from pacos.generate.pool import Candidate, Pool
from pacos.generate.presets import preset
from pacos.generate.prompting.items import ParsedItem
from pacos.generate.seeds import known_tasks, load_seeds, seeds_path
from pacos.generate.stats import EngineUsage, dataset_stats, token_counts
from pacos.progress import bar
from pacos.records import Task, read_tasks
from pacos.results import write_result
from pacos.results.dataset import DatasetStats

log = logging.getLogger("pacos")

# Tasks that are committed together, since finding their neighbours together is faster.
TASKS_PER_COMMIT = 256


def curate(responses: Path, out: Path, config: GenerateConfig) -> DatasetStats:
    """Write `dataset.jsonl`, `rejected.jsonl` and `stats.json` from a journal; return the statistics.

    Uses the answers in the order of their requests, up to `config.target` accepted items. With the journal and config
    of a run that stopped at its target, the files equal the run's byte for byte. Accepted instructions whose follow-ups
    have no answer are rejected as `pending`.
    """
    seeds = load_seeds(seeds_path(config.seeds))
    answers = read_responses(responses)
    _refuse_own_folder(responses, out)
    chosen, known = preset(config.preset), known_tasks(config.known)
    with (
        Pool(out, seeds, config.filters, config.target, lists=chosen.lists, known=known) as pool,
        bar("curate", len(answers), "answers") as progress,
    ):
        for request in sorted(answers):
            if pool.is_full:
                break
            if chosen.follow_ups:
                write_list(pool, answers[request], pool.judge_answer(answers[request]), answers, chosen.phases)
            else:
                pool.commit_answer(answers[request])
            progress.update()
    usage = EngineUsage(len(answers) + len(answers.follow_ups), token_counts(answers.everything()))
    stats = dataset_stats(pool.tally, "target" if pool.is_full else "end", usage)
    return _finish(out, stats)


def filter_file(tasks: Path, out: Path, seeds: Path | None, filters: FiltersConfig) -> DatasetStats:
    """Run the rules and the novelty filter over Alpaca-format tasks, in their order; return the statistics.

    A task must be novel against `seeds`, if given, and against the tasks before it.
    """
    listed = read_tasks(tasks)
    compared = load_seeds(seeds) if seeds else []
    _refuse_own_folder(tasks, out)
    with Pool(out, compared, filters) as pool, bar("filter", len(listed), "tasks") as progress:
        for start in range(0, len(listed), TASKS_PER_COMMIT):
            chunk = listed[start : start + TASKS_PER_COMMIT]
            pool.commit(_candidate(task, number) for number, task in enumerate(chunk, start + 1))
            progress.set_postfix({"kept": f"{pool.tally.accepted:,}"}, refresh=False)
            progress.update(len(chunk))
    return _finish(out, dataset_stats(pool.tally, "end"))


def _candidate(task: Task, number: int) -> Candidate:
    raw = json.dumps(dataclasses.asdict(task), ensure_ascii=False)
    return Candidate(f"row-{number:06d}", 0, number, ParsedItem(raw, task))


def _refuse_own_folder(source: Path, out: Path) -> None:
    """Raises RunError if `out`, whose files are overwritten, is the folder that is read from."""
    folder = source if source.is_dir() else source.parent
    if folder.resolve() == out.resolve():
        raise RunError("--out is the folder that is read from", where=str(out), todo="choose another folder")


def _finish(out: Path, stats: DatasetStats) -> DatasetStats:
    write_result(out / "stats.json", stats)
    log.info("%s: %d of %d items accepted", out, stats.funnel.accepted, stats.funnel.items)
    return stats
