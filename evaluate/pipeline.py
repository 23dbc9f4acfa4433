"""`pacos evaluate`: base and adapters on one engine → predictions → scores → comparison.

Contestants that share a base ride on one server, each adapter asked for by its name; other bases get a server
each, in turn. On a CPU engine each adapter is merged into a copy of its base, with a server of its own.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from pacos.config import Config, SuiteConfig
from pacos.errors import ConfigError
from pacos.evaluate.baselines import baselines, write_baseline
from pacos.evaluate.compare import compare, table
from pacos.evaluate.contamination import check_files, headline
from pacos.evaluate.evaluation import Settings
from pacos.evaluate.models import TUNED, Contestant, contestants, strange_prompts
from pacos.evaluate.predict import Job, predict
from pacos.evaluate.score import score_file
from pacos.models import load_tokenizer
from pacos.records import write_json
from pacos.runs import Run, Stage, evaluation_label
from pacos.serving.cost import cost
from pacos.serving.engine import serves_merged
from pacos.serving.server import serving_dtype
from pacos.superni.prompts import preset_sha256, render
from pacos.superni.suites import read_suite
from pacos.superni.tasks import Suite
from pacos.templates import encode_prompts

log = logging.getLogger("pacos")


def main(config: Config, run: Run) -> None:
    """Evaluate all contestants on all suites; goes on at the first instance without an answer.

    Raises ConfigError, DataError, ModelError (among them an adapter that answers as its base does), EngineError.
    """
    suites = read_suites(config)
    entrants = contestants(config, run.trained)
    for line in strange_prompts(entrants, [suite_config.prompt for suite_config, _ in suites]):
        log.warning("%s", line)
    jobs = plan_jobs(config, suites, entrants, run.eval)
    decides = [[asdict(job.settings) for job in jobs]]
    if run.is_done("evaluate", *decides):
        log.info("evaluate: done already, nothing has changed: %s", run.eval)
        return
    inputs = [path for _, suite in suites for path in suite.files]
    inputs += sorted({job.contestant.adapter for job in jobs if job.contestant.adapter})
    with run.stage("evaluate", *decides, inputs=inputs) as stage:
        for suite_config, suite in suites:
            stage.outputs += warn_of_overlap(config, run, suite_config, suite)
        began = time.monotonic()
        asyncio.run(_predict_all(config, run.dir, jobs, stage))
        seconds = time.monotonic() - began
        stage.cost = round(cost(config, seconds, stage.tokens["prompt"], stage.tokens["completion"]), 4)
        for suite_config, suite in suites:
            folders = [job.folder for job in jobs if job.suite_config is suite_config]
            for name in baselines(suite):
                folders.append(run.eval / evaluation_label(name, suite_config, config.evaluate))
                write_baseline(name, suite_config, suite, folders[-1])
            stage.outputs += _conclude(folders, run.eval, evaluation_label("comparison", suite_config, config.evaluate))


def warn_of_overlap(config: Config, run: Run, suite_config: SuiteConfig, suite: Suite) -> list[Path]:
    """Look for the suite's texts in the run's training files; returns what was written. `hub` sources are not read."""
    files = [Path(source.path) for source in config.train.data if source.path] or [run.dataset / "dataset.jsonl"]
    present = [file for file in files if file.exists()]
    if not present:
        return []
    found = check_files(present, suite)
    path = run.eval / f"{evaluation_label('contamination', suite_config, config.evaluate)}.json"
    write_json(path, found)
    if found["overlapping"]:
        log.warning("%s: %s; listed in %s", suite_config.name, headline(found), path)
    return [path]


def plan(config: Config) -> list[str]:
    """What would be evaluated, for --dry-run; checks suites, models and adapters, starts nothing."""
    suites = read_suites(config)
    entrants = contestants(config, config.run_dir / "train" / config.train.result)
    lines = [f"{one.name}: {one.base}" + (f" + {one.adapter}" if one.adapter else "") for one in entrants]
    if not any(one.name == TUNED for one in entrants):
        lines.append(f"the run has no {config.train.result} yet; it takes part once it is trained")
    lines += strange_prompts(entrants, [suite_config.prompt for suite_config, _ in suites])
    for suite_config, suite in suites:
        lines.append(f"{suite_config.name}: {suite.coverage} ({suite.track} track)")
        if len(suite.instances) != suite.n_expected:
            lines.append(f"{suite_config.name}: a part of the track; scores compare with no published number")
        if Path(entrants[0].base).is_dir():
            lines.append(f"{suite_config.name}: {_prompt_lengths(config, suite_config, suite, entrants[0].base)}")
    requests = len(entrants) * sum(len(suite.instances) for _, suite in suites)
    return [*lines, f"{requests:,} answers, greedy, {config.engine.concurrency}"]


def read_suites(config: Config) -> list[tuple[SuiteConfig, Suite]]:
    """Raises ConfigError where there are none, or two of one name and prompt; DataError as `read_suite` does."""
    if not config.evaluate.suites:
        raise ConfigError(
            "there is nothing to evaluate on",
            where="evaluate.suites",
            todo="name a SuperNI folder: evaluate.suites=[{name: superni, path: natural-instructions}]",
        )
    suites = []
    seen = set()
    for suite_config in config.evaluate.suites:
        if (key := (suite_config.name, suite_config.prompt)) in seen:
            raise ConfigError(f"the suite {key[0]!r} with prompt {key[1]!r} is there twice", where="evaluate.suites")
        seen.add(key)
        suite = read_suite(Path(suite_config.path), suite_config.limit)
        log.info("%s: %s", suite_config.name, suite.coverage)
        suites.append((suite_config, suite))
    return suites


def plan_jobs(
    config: Config, suites: Sequence[tuple[SuiteConfig, Suite]], entrants: Sequence[Contestant], folder: Path
) -> list[Job]:
    """Every contestant on every suite."""
    return [
        Job(
            contestant=entrant,
            suite_config=suite_config,
            suite=suite,
            settings=_settings(config, suite_config, suite, entrant),
            folder=folder / evaluation_label(entrant.name, suite_config, config.evaluate),
        )
        for suite_config, suite in suites
        for entrant in entrants
    ]


def _settings(config: Config, suite_config: SuiteConfig, suite: Suite, entrant: Contestant) -> Settings:
    return Settings(
        model=entrant.name,
        base=entrant.base,
        base_sha256=entrant.base_sha256,
        dtype=config.model.dtype if config.engine.url else serving_dtype(config.model.dtype),
        serve="merged" if entrant.adapter and serves_merged(config) else "adapter" if entrant.adapter else "model",
        adapter=str(entrant.adapter or ""),
        adapter_sha256=entrant.adapter_sha256,
        suite=suite_config.name,
        suite_sha256=suite.sha256,
        n_expected=suite.n_expected,
        prompt=suite_config.prompt,
        prompt_sha256=preset_sha256(suite_config.prompt),
        max_tokens=suite_config.answer_tokens,
        postprocess=suite_config.postprocess,
    )


async def _predict_all(config: Config, run_dir: Path, jobs: Sequence[Job], stage: Stage) -> None:
    merged = serves_merged(config)

    def served(job: Job) -> tuple[str, str]:
        return job.contestant.base, str(job.contestant.adapter or "") if merged else ""

    unfinished = [job for job in jobs if not job.take_up()]
    for _, together in groupby(sorted(unfinished, key=served), key=served):
        await predict(config, run_dir, list(together), stage)


def _conclude(folders: Sequence[Path], out: Path, name: str) -> list[Path]:
    """Scores of each evaluation and their comparison; returns what was written."""
    outputs = []
    for folder in folders:
        scores = score_file(folder / "predictions.jsonl", folder / "scores.json")
        log.info("%s: ROUGE-L %.2f, exact match %.2f", folder.name, scores.rougeL, scores.exact_match)
        outputs += [folder / "predictions.jsonl", folder / "scores.json"]
    log.info("%s", table(compare(folders, out, f"{name}.json")))
    return [*outputs, out / f"{name}.json"]


def _prompt_lengths(config: Config, suite_config: SuiteConfig, suite: Suite, base: str) -> str:
    tokenizer = load_tokenizer(base, config.model)
    prompts = [render(suite_config.prompt, one) for one in suite.instances]
    lengths = sorted(len(ids) for ids in encode_prompts(tokenizer, prompts))
    median, longest = lengths[len(lengths) // 2], lengths[-1]
    return f"prompts of {median} tokens (median) to {longest}, answers of up to {suite_config.answer_tokens}"
