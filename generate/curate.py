"""Datasets without an engine: from a journal of answers, or from existing tasks."""

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import DataError, RunError
from pacos.files import make_folder
from pacos.generate.follow_ups import write_list
from pacos.generate.journal import read_responses
from pacos.generate.judging import open_pool, unfinished
from pacos.generate.known import known_tasks
from pacos.generate.presets import preset
from pacos.generate.stats import EngineUsage, dataset_stats, token_counts
from pacos.generate.task_rows import TaskRows
from pacos.progress import bar
from pacos.records import tasks_file
from pacos.results import read_result, write_result
from pacos.results.dataset import DatasetStats
from pacos.seeds import load_seeds, seeds_path

log = logging.getLogger("pacos")


def curate(
    responses: Path, out: Path, config: GenerateConfig, workers: int | None = None, ray: str | None = None
) -> DatasetStats:
    """Write `dataset.jsonl`, `rejected.jsonl` and `stats.json` from a journal; return the statistics.

    Uses the answers in the order of their requests, up to `config.target` accepted items. With the journal and config
    of a run that stopped at its target, the files equal the run's byte for byte, whatever the number of `workers`, here
    or on the Ray cluster at the address `ray`. Accepted instructions whose follow-ups have no answer are rejected as
    `pending`. Raises RunError where `out` holds another dataset.
    """
    seeds = load_seeds(seeds_path(config.seeds))
    answers = read_responses(responses)
    refuse_other_dataset(_named(responses), [responses.parent], out)
    chosen, known = preset(config.preset), known_tasks(config.known)
    ordered = [answers[request] for request in sorted(answers)]
    with (
        unfinished(out) as folder,
        open_pool(
            folder, seeds, config.filters, config.target, lists=chosen.lists, known=known, workers=workers, ray=ray
        ) as judging,
        bar("curate", len(answers), "answers") as progress,
    ):
        pool, rest = judging.pool, iter(ordered)
        for committed in judging.answers(ordered):
            for judged in committed:
                if chosen.follow_ups:
                    write_list(pool, next(rest), judged, answers, chosen.phases)
                else:
                    pool.write_answer(next(rest), judged)
            progress.update(len(committed))
    usage = EngineUsage(len(answers) + len(answers.follow_ups), token_counts(answers.everything()))
    stats = dataset_stats(pool.tally, "target" if pool.is_full else "end", usage)
    return finish(_named(responses), out, stats)


def filter_file(
    tasks: Path,
    out: Path,
    seeds: Path | None,
    filters: FiltersConfig,
    workers: int | None = None,
    ray: str | None = None,
) -> DatasetStats:
    """Run the rules and the novelty filter over Alpaca-format tasks, in their order; return the statistics.

    A task must be novel against `seeds`, if given, and against the tasks before it. A row that is not a task is
    rejected as `malformed`. The files are the same whatever the number of `workers`, here or on the Ray cluster at the
    address `ray`. Raises DataError for a file that is not rows at all, or of which no row is a task; RunError where
    `out` holds another dataset.
    """
    source = tasks_file(tasks)
    rows = TaskRows(source)
    compared = load_seeds(seeds) if seeds else []
    refuse_other_dataset(_named(source), [source.parent], out)
    with (
        unfinished(out) as folder,
        open_pool(folder, compared, filters, workers=workers, ray=ray) as judging,
        bar("filter", rows.count, "tasks") as progress,
    ):
        for judged in judging.candidates(rows):
            for each in judged:
                judging.pool.write_item(each)
            progress.set_postfix({"kept": f"{judging.pool.tally.accepted:,}"}, refresh=False)
            progress.update(len(judged))
    rows.warn()
    return finish(_named(source), out, dataset_stats(judging.pool.tally, "end"))


def _named(source: Path) -> str:
    return str(source.resolve())


def refuse_other_dataset(source: str, read_from: Sequence[Path], out: Path) -> None:
    """Raises RunError if `out`, whose files are overwritten, is a folder that is read from or holds a dataset not made
    from `source`, or cannot be written to."""
    make_folder(out)
    if out.resolve() in {folder.resolve() for folder in read_from}:
        raise RunError("--out is the folder that is read from", where=str(out), todo="choose another folder")
    if not os.path.lexists(out / "dataset.jsonl"):
        return
    try:
        made_from = read_result(out / "stats.json", DatasetStats, todo="").source
    except DataError:
        made_from = ""
    if made_from != source:
        raise RunError(
            f"--out holds another dataset{f', made from {made_from}' if made_from else ''}",
            where=str(out),
            todo="choose another folder, or remove it first",
        )


def finish(source: str, out: Path, stats: DatasetStats) -> DatasetStats:
    """Write the statistics of a dataset that was made from `source`, and return them with it."""
    stats = dataclasses.replace(stats, source=source)
    write_result(out / "stats.json", stats)
    log.info("%s: %d of %d items accepted", out, stats.funnel.accepted, stats.funnel.items)
    if stats.funnel.items and not stats.funnel.accepted:
        reason, count = max(stats.funnel.rejected.items(), key=lambda one: one[1], default=("unknown", 0))
        log.warning("nothing was kept; the most frequent reason, of %d items, is %s (rejected.jsonl)", count, reason)
    return stats
