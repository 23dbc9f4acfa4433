"""Datasets without an engine: from a journal of answers, or from existing tasks."""

import dataclasses
import json
import logging
import os
from pathlib import Path

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import DataError, OtherForm, RunError
from pacos.files import make_folder, read_rows
from pacos.generate.filtering.reasons import Reason
from pacos.generate.follow_ups import write_list
from pacos.generate.journal import read_responses
from pacos.generate.known import known_tasks
from pacos.generate.pool import Candidate, Pool
from pacos.generate.presets import preset
from pacos.generate.prompting.answer_text import plain_task
from pacos.generate.prompting.items import ParsedItem
from pacos.generate.stats import EngineUsage, dataset_stats, token_counts
from pacos.progress import bar
from pacos.records import parse_task, tasks_file
from pacos.results import read_result, write_result
from pacos.results.dataset import DatasetStats
from pacos.seeds import load_seeds, seeds_path

log = logging.getLogger("pacos")

# Answers or tasks that are committed together, since finding their neighbours together is faster.
PER_COMMIT = 256


def curate(responses: Path, out: Path, config: GenerateConfig) -> DatasetStats:
    """Write `dataset.jsonl`, `rejected.jsonl` and `stats.json` from a journal; return the statistics.

    Uses the answers in the order of their requests, up to `config.target` accepted items. With the journal and config
    of a run that stopped at its target, the files equal the run's byte for byte. Accepted instructions whose follow-ups
    have no answer are rejected as `pending`. Raises RunError where `out` holds another dataset.
    """
    seeds = load_seeds(seeds_path(config.seeds))
    answers = read_responses(responses)
    _refuse_other_dataset(responses, out)
    chosen, known = preset(config.preset), known_tasks(config.known)
    with (
        Pool(out, seeds, config.filters, config.target, lists=chosen.lists, known=known) as pool,
        bar("curate", len(answers), "answers") as progress,
    ):
        ordered = [answers[request] for request in sorted(answers)]
        for start in range(0, len(ordered), PER_COMMIT):
            chunk = ordered[start : start + PER_COMMIT]
            committed = pool.judge_answers(chunk)
            for answer, judged in zip(chunk, committed, strict=False):  # fewer where the pool is full
                if chosen.follow_ups:
                    write_list(pool, answer, judged, answers, chosen.phases)
                else:
                    pool.write_answer(answer, judged)
            progress.update(len(committed))
            if pool.is_full:
                break
    usage = EngineUsage(len(answers) + len(answers.follow_ups), token_counts(answers.everything()))
    stats = dataset_stats(pool.tally, "target" if pool.is_full else "end", usage)
    return _finish(responses, out, stats)


def filter_file(tasks: Path, out: Path, seeds: Path | None, filters: FiltersConfig) -> DatasetStats:
    """Run the rules and the novelty filter over Alpaca-format tasks, in their order; return the statistics.

    A task must be novel against `seeds`, if given, and against the tasks before it. A row that is not a task is
    rejected as `malformed`. Raises DataError for a file that is not rows at all, or of which no row is a task;
    RunError where `out` holds another dataset.
    """
    source = tasks_file(tasks)
    listed = _read_candidates(source)
    compared = load_seeds(seeds) if seeds else []
    _refuse_other_dataset(source, out)
    with Pool(out, compared, filters) as pool, bar("filter", len(listed), "tasks") as progress:
        for start in range(0, len(listed), PER_COMMIT):
            chunk = listed[start : start + PER_COMMIT]
            pool.commit(chunk)
            progress.set_postfix({"kept": f"{pool.tally.accepted:,}"}, refresh=False)
            progress.update(len(chunk))
    return _finish(source, out, dataset_stats(pool.tally, "end"))


def _read_candidates(path: Path) -> list[Candidate]:
    found: list[Candidate] = []
    complaints: list[DataError] = []
    for number, (where, values) in enumerate(read_rows(path), 1):
        try:
            task = parse_task(values, where=where)
            parsed = ParsedItem(json.dumps(dataclasses.asdict(task), ensure_ascii=False), plain_task(task))
        except OtherForm:
            raise
        except DataError as broken:
            complaints.append(broken)
            parsed = ParsedItem(json.dumps(values, ensure_ascii=False), reason=Reason.MALFORMED)
        found.append(Candidate(f"row-{number:06d}", 0, number, parsed))
    if complaints and len(complaints) == len(found):
        raise complaints[0]
    if complaints:
        log.warning("%s: %d rows are not tasks and are rejected; the first: %s", path, len(complaints), complaints[0])
    if not found:
        raise DataError("holds no tasks", where=str(path), todo="generate some first, or point to another file")
    return found


def _refuse_other_dataset(source: Path, out: Path) -> None:
    """Raises RunError if `out`, whose files are overwritten, holds what is read or any dataset not made from it, or
    cannot be written to."""
    make_folder(out)
    if source.parent.resolve() == out.resolve():
        raise RunError("--out is the folder that is read from", where=str(out), todo="choose another folder")
    if not os.path.lexists(out / "dataset.jsonl"):
        return
    try:
        made_from = read_result(out / "stats.json", DatasetStats, todo="").source
    except DataError:
        made_from = ""
    if made_from != str(source.resolve()):
        raise RunError(
            f"--out holds another dataset{f', made from {made_from}' if made_from else ''}",
            where=str(out),
            todo="choose another folder, or remove it first",
        )


def _finish(source: Path, out: Path, stats: DatasetStats) -> DatasetStats:
    stats = dataclasses.replace(stats, source=str(source.resolve()))
    write_result(out / "stats.json", stats)
    log.info("%s: %d of %d items accepted", out, stats.funnel.accepted, stats.funnel.items)
    if stats.funnel.items and not stats.funnel.accepted:
        reason, count = max(stats.funnel.rejected.items(), key=lambda one: one[1], default=("unknown", 0))
        log.warning("nothing was kept; the most frequent reason, of %d items, is %s (rejected.jsonl)", count, reason)
    return stats
