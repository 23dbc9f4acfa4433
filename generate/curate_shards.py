"""`pacos curate` of shards: commits the union of their answers as one machine would have, or says what is pending."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pacos.config import Config, GenerateConfig
from pacos.errors import RunError
from pacos.generate.budget import StoppedBy, limit_of
from pacos.generate.curate import finish, refuse_other_dataset
from pacos.generate.journal import request_settings
from pacos.generate.judging import Judging, open_pool, unfinished
from pacos.generate.known import known_tasks
from pacos.generate.presets import preset
from pacos.generate.stats import EngineUsage, dataset_stats, token_counts
from pacos.generate.union import Union, unite
from pacos.progress import bar
from pacos.results.dataset import DatasetStats
from pacos.seeds import load_seeds, seeds_path

log = logging.getLogger("pacos")

# The share of the requests, the last ones, whose acceptance tells how many more are needed: it falls as the pool grows.
RECENT = 0.25


def curate_shards(
    journals: Sequence[Path],
    source: str,
    out: Path,
    config: Config,
    workers: int | None = None,
    ray: str | None = None,
) -> DatasetStats:
    """Write `dataset.jsonl`, `rejected.jsonl` and `stats.json` from the journals of shards; return the statistics.

    The first two are, byte for byte, those of one `pacos generate` with the same configuration and the same answers: it
    stops at the target, or at a limit of `generate.budget` on requests, tokens or acceptance. `source` names the
    journals in the statistics. Raises RunError, and writes nothing, where a request has no answer that comes before
    that, and as `unite`.
    """
    generate, seeds_file = config.generate, seeds_path(config.generate.seeds)
    seeds = load_seeds(seeds_file)
    union = unite(journals, request_settings(config, seeds_file))
    refuse_other_dataset(source, [journal.parent for journal in journals], out)
    lists, known = preset(generate.preset).lists, known_tasks(generate.known)
    with (
        unfinished(out) as folder,
        open_pool(
            folder, seeds, generate.filters, generate.target, lists=lists, known=known, workers=workers, ray=ray
        ) as judging,
        bar("curate", union.whole, "answers") as progress,
    ):
        accepted = _commit(judging, union, generate, progress)
        stopped_by = limit_of(generate.budget, generate.target, judging.pool.tally)
        if not stopped_by and union.missing:
            raise _pending(union, accepted, generate.target)
    usage = EngineUsage(len(union.answers), token_counts(union.answers.values()))
    stats = finish(source, out, dataset_stats(judging.pool.tally, str(stopped_by or "end"), usage))
    if not stopped_by:
        log.warning("%s", _more(accepted, generate.target, union.until))
    elif stopped_by != StoppedBy.TARGET:
        log.warning("stopped by generate.budget.%s before the target", stopped_by)
    return stats


def _commit(judging: Judging, union: Union, generate: GenerateConfig, progress: Any) -> list[int]:
    """Commit answers in order until a limit is reached; how many tasks were accepted after each."""
    ordered = [union.answers[request] for request in range(union.whole)]
    pool, accepted = judging.pool, list[int]()
    for committed in judging.answers(ordered):
        for judged in committed:
            pool.write_answer(ordered[len(accepted)], judged)
            accepted.append(pool.tally.accepted)
            if limit_of(generate.budget, generate.target, pool.tally):
                return accepted
        progress.update(len(committed))
    return accepted


def _pending(union: Union, accepted: Sequence[int], target: int) -> RunError:
    so_far = accepted[-1] if accepted else 0
    instead = f", or set generate.target={so_far}" if so_far else ""
    return RunError(
        f"{len(union.missing)} of {union.until} requests have no answer yet: {union.pending()}; the {len(accepted)} "
        f"before the first of them brought {so_far} of {target} tasks",
        where=f"request {union.whole}",
        todo=f"run these shards again with --until-request {union.until}: what is answered is kept{instead}",
    )


def _more(accepted: Sequence[int], target: int, until: int) -> str:
    so_far = accepted[-1] if accepted else 0
    last = max(1, math.ceil(RECENT * len(accepted)))
    brought = so_far - (accepted[-last - 1] if len(accepted) > last else 0)
    begin = f"{so_far} of {target} tasks are accepted from {len(accepted)} requests"
    if not brought:
        return f"{begin}, and none from the last {last}: more requests would bring few"
    more = math.ceil((target - so_far) * last / brought)
    return f"{begin}; about {more} more would reach the target: run all shards with --until-request {until + more}"
