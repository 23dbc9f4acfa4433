"""Datasets without an engine: from a journal of answers, or from tasks that are there already."""

import dataclasses
import json
import logging
from pathlib import Path
from typing import Any

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import RunError
from pacos.generate.bootstrap import write_unit
from pacos.generate.journal import read_responses
from pacos.generate.pool import Candidate, Pool
from pacos.generate.prompting.parsing import ParsedItem
from pacos.generate.seeds import known_tasks, load_seeds, seeds_path
from pacos.generate.stats import dataset_stats
from pacos.progress import bar
from pacos.records import Task, read_tasks, write_json

log = logging.getLogger("pacos")

# Tasks that are committed at a time: their neighbours are found together.
CHUNK = 256


def curate(responses: Path, out: Path, config: GenerateConfig) -> dict[str, Any]:
    """Make `dataset.jsonl`, `rejected.jsonl` and `stats.json` from a journal, in the order of its requests.

    Takes every answer up to `config.target` accepted tasks; from a run's own journal and config, when the run
    stopped at its target, the files are the run's to the byte. Preset self-instruct lists instructions whose later
    answers are missing as `pending`. Returns the statistics.
    """
    seeds = load_seeds(seeds_path(config.seeds))
    answers = read_responses(responses)
    _refuse_own_folder(responses, out)
    bootstraps = config.preset == "self-instruct"
    with (
        Pool(
            out,
            seeds,
            config.filters,
            config.target,
            instructions_only=bootstraps,
            known=known_tasks(config.known),
        ) as pool,
        bar("curate", len(answers), "answers") as progress,
    ):
        for request in sorted(answers):
            if pool.is_full:
                break
            if bootstraps:
                write_unit(pool, answers[request], pool.judge_answer(answers[request]), answers)
            else:
                pool.commit_answer(answers[request])
            progress.update()
    stats = dataset_stats(
        pool.tally,
        stopped_by="target" if pool.is_full else "end",
        answered=len(answers) + len(answers.details),
        prompt_tokens=sum(answer.prompt_tokens for answer in answers.everything()),
        completion_tokens=sum(answer.completion_tokens for answer in answers.everything()),
    )
    return _finish(out, stats)


def filter_file(tasks: Path, out: Path, seeds: Path | None, filters: FiltersConfig) -> dict[str, Any]:
    """Run the rules and the novelty filter over Alpaca-format tasks, in their order.

    A task must be novel against `seeds`, where given, and against the tasks before it. Returns the statistics.
    """
    listed = read_tasks(tasks)
    known = load_seeds(seeds) if seeds else []
    _refuse_own_folder(tasks, out)
    with Pool(out, known, filters) as pool, bar("filter", len(listed), "tasks") as progress:
        for start in range(0, len(listed), CHUNK):
            chunk = listed[start : start + CHUNK]
            pool.commit(_candidate(task, number) for number, task in enumerate(chunk, start + 1))
            progress.set_postfix({"kept": f"{pool.tally.accepted:,}"}, refresh=False)
            progress.update(len(chunk))
    return _finish(out, dataset_stats(pool.tally, stopped_by="end"))


def _candidate(task: Task, number: int) -> Candidate:
    raw = json.dumps(dataclasses.asdict(task), ensure_ascii=False)
    return Candidate(f"row-{number:06d}", 0, number, ParsedItem(raw, task))


def _refuse_own_folder(source: Path, out: Path) -> None:
    """Writing starts the dataset's files anew; the folder that is read from must not be among the written."""
    folder = source if source.is_dir() else source.parent
    if folder.resolve() == out.resolve():
        raise RunError("--out is the folder that is read from", where=str(out), todo="choose another folder")


def _finish(out: Path, stats: dict[str, Any]) -> dict[str, Any]:
    write_json(out / "stats.json", stats)
    funnel = stats["funnel"]
    log.info("%s: %d of %d items accepted", out, funnel["accepted"], funnel["items"])
    return stats
