"""`pacos evaluate`: base and adapters on one engine → predictions → scores → comparison.

Models that share a base are served by one server, each adapter requested by its name; other bases get a server each,
in turn. On a CPU engine each adapter is merged into a copy of its base, with a server of its own.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import groupby
from pathlib import Path

from pacos.adapters import served_lora_rank
from pacos.asked_chat import asked_tokenizer
from pacos.config import Config, EvaluateConfig, SuiteConfig
from pacos.errors import ConfigError
from pacos.evaluate.baselines import baselines, write_baseline
from pacos.evaluate.chats import chat_template_hashes, check_demonstrations
from pacos.evaluate.compare import compare_evaluations, comparison_table
from pacos.evaluate.contamination import check_files, headline
from pacos.evaluate.models import TUNED, EvaluatedModel, models_under_evaluation, template_mismatches
from pacos.evaluate.predict import Job, predict
from pacos.evaluate.prompts import prompt_encoder, suite_encoding
from pacos.evaluate.score import evaluation_scores, read_scored
from pacos.evaluate.tracks import suite_tokenizer
from pacos.models import load_tokenizer
from pacos.results import write_result
from pacos.results.evaluation import EvaluationSettings
from pacos.runs import Run, Stage, evaluation_label
from pacos.seeds import seeds_path
from pacos.serving.connect import serves_merged
from pacos.serving.cost import charged
from pacos.serving.flags import serving_dtype
from pacos.superni.suites import read_suite
from pacos.superni.tasks import Suite

log = logging.getLogger("pacos")


def main(config: Config, run: Run) -> None:
    """Evaluate all models on all suites; an interrupted evaluation resumes at the first unanswered instance.

    Raises ConfigError, DataError, ModelError (among them an adapter that answers as its base does), EngineError.
    """
    suites = read_suites(config.evaluate)
    models = models_under_evaluation(config, run.trained)
    for line in template_mismatches(models, [suite_config.prompt for suite_config, _ in suites]):
        log.warning("%s", line)
    jobs = plan_jobs(config, suites, models, run.eval)
    decides = [[asdict(job.settings) for job in jobs]]
    if run.is_done("evaluate", *decides):
        log.info("evaluate: done already, nothing has changed: %s", run.eval)
        return
    inputs = [path for _, suite in suites for path in suite.files]
    inputs += sorted({one.model.adapter for one in models if one.model.adapter})
    with run.stage("evaluate", *decides, inputs=inputs) as stage:
        for suite_config, suite in suites:
            stage.outputs += warn_of_overlap(config, run, suite_config, suite)
        with charged(stage, config.engine):
            asyncio.run(_predict_all(config, run.dir, jobs, stage))
        for suite_config, suite in suites:
            folders = [job.folder for job in jobs if job.suite_config is suite_config]
            for name in baselines(suite):
                folders.append(run.eval / evaluation_label(name, suite_config, config.evaluate))
                write_baseline(name, suite_config, suite, folders[-1])
            label = evaluation_label("comparison", suite_config, config.evaluate)
            stage.outputs += _score_and_compare(folders, run.eval / f"{label}.json")


def warn_of_overlap(config: Config, run: Run, suite_config: SuiteConfig, suite: Suite) -> list[Path]:
    """Look for the suite's texts in the run's training files; returns the files written. `hub` sources are skipped."""
    seeds = seeds_path(config.generate.seeds) if config.train.seed_tasks else None
    files = [Path(source.path) for source in config.train.data if source.path] or [run.dataset / "dataset.jsonl"]
    present = [file for file in files if file.exists()]
    if not (present or seeds):
        return []
    found = check_files(present, suite, seeds=seeds)
    path = run.eval / f"{evaluation_label('contamination', suite_config, config.evaluate)}.json"
    write_result(path, found)
    if found.overlapping:
        log.warning("%s: %s; listed in %s", suite_config.name, headline(found), path)
    return [path]


def plan(config: Config) -> list[str]:
    """What would be evaluated, for --dry-run; checks suites, models and adapters, starts nothing."""
    suites = read_suites(config.evaluate)
    models = models_under_evaluation(config, config.run_dir / "train" / config.train.result)
    if not serves_merged(config):
        served_lora_rank([one.model.adapter for one in models if one.model.adapter])
    lines = [f"{one.name}: {one.model}" for one in models]
    if not any(one.name == TUNED for one in models):
        lines.append(f"the run has no {config.train.result} yet; it is evaluated once it is trained")
    lines += template_mismatches(models, [suite_config.prompt for suite_config, _ in suites])
    chat_template_hashes(config, [suite_config for suite_config, _ in suites], models)
    for suite_config, suite in suites:
        lines.append(f"{suite_config.name}: {suite.coverage} ({suite.track} track)")
        if suite_tokenizer(suite_config, suite) == "gpt2":
            lines.append(f"{suite_config.name}: ROUGE-L over GPT-2's pieces, as on the x-lingual track")
        if len(suite.instances) != suite.n_expected:
            lines.append(f"{suite_config.name}: a part of the track; scores compare with no published number")
        if Path(config.student).is_dir():
            lines.append(f"{suite_config.name}: {_prompt_lengths(config, suite_config, suite)}")
    requests = len(models) * sum(len(suite.instances) for _, suite in suites)
    return [*lines, f"{requests:,} answers, greedy, {config.engine.concurrency}"]


def read_suites(settings: EvaluateConfig) -> list[tuple[SuiteConfig, Suite]]:
    """Read `evaluate.suites`.

    Raises ConfigError if there are none, or two with the same name and prompt; DataError as `read_suite` does.
    """
    if not settings.suites:
        raise ConfigError(
            "there is nothing to evaluate on",
            where="evaluate.suites",
            todo="name a SuperNI folder: evaluate.suites=[{name: superni, path: natural-instructions}]",
        )
    suites = []
    seen = set()
    for suite_config in settings.suites:
        if (key := (suite_config.name, suite_config.prompt)) in seen:
            raise ConfigError(f"duplicate suite {key[0]!r} with prompt {key[1]!r}", where="evaluate.suites")
        seen.add(key)
        suite = read_suite(Path(suite_config.path), suite_config.limit)
        check_demonstrations(suite_config, suite)
        log.info("%s: %s", suite_config.name, suite.coverage)
        suites.append((suite_config, suite))
    return suites


def plan_jobs(
    config: Config, suites: Sequence[tuple[SuiteConfig, Suite]], models: Sequence[EvaluatedModel], folder: Path
) -> list[Job]:
    """Every model on every suite; `folder` is the run's `eval/`. Raises ModelError as `chat_template_hashes`."""
    chats = chat_template_hashes(config, [suite_config for suite_config, _ in suites], models)
    return [
        Job(
            evaluated=model,
            suite_config=suite_config,
            suite=suite,
            settings=_settings(config, suite_config, suite, model, chats),
            folder=folder / evaluation_label(model.name, suite_config, config.evaluate),
        )
        for suite_config, suite in suites
        for model in models
    ]


def _settings(
    config: Config, suite_config: SuiteConfig, suite: Suite, evaluated: EvaluatedModel, chats: Mapping[str, str]
) -> EvaluationSettings:
    model, encoding = evaluated.model, suite_encoding(suite_config)
    chat = chats[evaluated.name] if encoding.is_chat else ""
    return EvaluationSettings(
        model=evaluated.name,
        base=model.base,
        base_sha256=model.sha256,
        dtype=config.model.dtype if config.engine.url else serving_dtype(config.model.dtype),
        serve="model" if not model.adapter else "merged" if serves_merged(config) else "adapter",
        adapter=str(model.adapter or ""),
        adapter_sha256=model.adapter_sha256,
        suite=suite_config.name,
        suite_sha256=suite.sha256,
        n_expected=suite.n_expected,
        prompt=suite_config.prompt,
        prompt_sha256=hashlib.sha256(f"{encoding.sha256} {chat}".encode()).hexdigest() if chat else encoding.sha256,
        max_tokens=suite_config.answer_tokens,
        postprocess=suite_config.postprocess,
        max_source_tokens=suite_config.source_tokens,
        tokenizer=suite_tokenizer(suite_config, suite),
        system=encoding.system,
        demonstrations=suite_config.demonstrations,
        chat_template_sha256=chat,
    )


async def _predict_all(config: Config, run_dir: Path, jobs: Sequence[Job], stage: Stage) -> None:
    merged = serves_merged(config)

    def served(job: Job) -> tuple[str, str]:
        return job.evaluated.model.base, str(job.evaluated.model.adapter or "") if merged else ""

    unfinished = [job for job in jobs if not job.is_done()]
    for _, together in groupby(sorted(unfinished, key=served), key=served):
        await predict(config, run_dir, list(together), stage)


def _score_and_compare(folders: Sequence[Path], out: Path) -> list[Path]:
    """Write the scores of each evaluation, and their comparison to `out`; returns the files written."""
    outputs = []
    evaluations = [read_scored(folder, recorded=True) for folder in folders]
    for evaluation in evaluations:
        scores, folder = evaluation_scores(evaluation), evaluation.folder
        write_result(folder / "scores.json", scores)
        log.info("%s: ROUGE-L %.2f, exact match %.2f", folder.name, scores.rougeL, scores.exact_match)
        outputs += [folder / "predictions.jsonl", folder / "scores.json"]
    comparison = compare_evaluations(evaluations)
    write_result(out, comparison)
    log.info("%s", comparison_table(comparison))
    return [*outputs, out]


def _prompt_lengths(config: Config, suite_config: SuiteConfig, suite: Suite) -> str:
    tokenizer = asked_tokenizer(load_tokenizer(config.student, config.model), config=config)
    encoding = suite_encoding(suite_config)
    prompts = [encoding.render(one) for one in suite.instances]
    lengths = sorted(len(ids) for ids in prompt_encoder(tokenizer, encoding)(prompts))
    median, longest = lengths[len(lengths) // 2], lengths[-1]
    said = f"prompts of {median} tokens (median) to {longest}, answers of up to {suite_config.answer_tokens}"
    limit = suite_config.source_tokens
    over = sum(length > limit for length in lengths) if limit else 0
    return f"{said}; {over} prompts are shortened to max_source_tokens, {limit}" if over else said
