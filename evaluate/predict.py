"""Answers of all contestants of one base, from one server, its queue kept full.

Requests are interleaved over (instance, contestant), so that the adapters share batches; each answer is
appended to its contestant's `predictions.jsonl` at once, and is not asked for again.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pacos.config import Config, SuiteConfig
from pacos.cpu_engine import Workload
from pacos.engine import Engine, Sampling, open_engine
from pacos.errors import ConfigError
from pacos.evaluate.contestants import Contestant
from pacos.evaluate.evaluation import Evaluation, Proof, Settings, take_up_answers
from pacos.evaluate.postprocess import POSTPROCESS
from pacos.evaluate.prompts import Prompt, count_shortened, fit_prompts
from pacos.evaluate.proof import prove
from pacos.evaluate.score import metrics
from pacos.progress import bar
from pacos.records import JsonlWriter, Prediction, read_records, write_jsonl
from pacos.runs import Stage
from pacos.superni import Instance, Suite

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Job:
    """One `eval/<label>/` to fill: who answers what, and where the answers go."""

    contestant: Contestant
    suite_config: SuiteConfig
    suite: Suite
    settings: Settings
    folder: Path

    @property
    def adapter(self) -> str | None:
        return self.contestant.name if self.contestant.adapter else None

    @property
    def suite_key(self) -> str:
        return f"{self.suite_config.name} {self.suite_config.prompt}"

    def take_up(self) -> bool:
        """Keep earlier answers if they answer these settings, set them aside if not; whether nothing is left to do."""
        return take_up_answers(self.folder, self.settings) and (self.folder / "scores.json").is_file()


# Folder, task, instance, hash of the prompt: an answer under this key is an answer to this request.
Key = tuple[Path, str, str, str]


@dataclass(frozen=True, slots=True)
class Request:
    job: Job
    instance: Instance
    prompt: Prompt

    @property
    def key(self) -> Key:
        return self.job.folder, self.instance.task, self.instance.id, self.prompt.sha256


async def predict(config: Config, run_dir: Path, jobs: Sequence[Job], stage: Stage) -> None:
    """Fill the folders of `jobs`, which share one base, and one adapter where adapters are served merged.

    Raises ModelError for an adapter that answers as the base does, and as `open_engine` and `fit_prompts` do.
    """
    adapters = {job.contestant.name: job.contestant.adapter for job in jobs if job.contestant.adapter}
    most = max(job.suite_config.answer_tokens for job in jobs)
    tokens = sum(len(job.suite.instances) * job.suite_config.answer_tokens for job in jobs) // 2
    model = jobs[0].contestant.base
    async with open_engine(config, run_dir, model=model, adapters=adapters, workload=Workload(tokens, most)) as engine:
        prompts: dict[str, list[Prompt]] = {}
        for job in jobs:
            if job.suite_key not in prompts:
                prompts[job.suite_key] = _prompts(engine, job)
        proofs = await prove(engine, list(adapters), [prompt.ids for prompt in prompts[jobs[0].suite_key]])
        requests = []
        for job in jobs:
            own = prompts[job.suite_key]
            Evaluation(job.settings, count_shortened(own), proofs.get(job.contestant.name, Proof())).write(job.folder)
            requests.append([Request(job, *pair) for pair in zip(job.suite.instances, own, strict=True)])
        await _answer(engine, _interleaved(requests), engine.in_flight, jobs, stage)


def _prompts(engine: Engine, job: Job) -> list[Prompt]:
    room = engine.max_model_len - job.suite_config.answer_tokens
    if room < 1:
        raise ConfigError(
            f"answers of {job.suite_config.answer_tokens} tokens fill the model's context of {engine.max_model_len}",
            where=f"evaluate.suites: {job.suite_config.name}",
            todo="lower max_tokens, or raise engine.args.max_model_len",
        )
    return fit_prompts(engine.tokenizer, job.suite_config.prompt, job.suite.instances, room)


def _interleaved(requests: Sequence[Sequence[Request]]) -> list[Request]:
    """First request of each job, second of each, …"""
    longest = max(len(of_job) for of_job in requests)
    return [of_job[index] for index in range(longest) for of_job in requests if index < len(of_job)]


async def _answer(engine: Engine, requests: list[Request], in_flight: int, jobs: Sequence[Job], stage: Stage) -> None:
    answered = {key for job in jobs for key in _keep_answers(job, {request.key for request in requests})}
    unanswered = [request for request in requests if request.key not in answered]
    with contextlib.ExitStack() as files:
        writers = {job.folder: files.enter_context(JsonlWriter(job.folder / "predictions.jsonl")) for job in jobs}
        progress = files.enter_context(bar("evaluating", len(requests), "answers", initial=len(answered)))

        async def work(request: Request) -> None:
            writers[request.job.folder].write(await _predict_one(engine, request, stage))
            progress.update()

        await work_off(unanswered, work, in_flight)


async def work_off(items: Sequence[Item], work: Callable[[Item], Awaitable[None]], in_flight: int) -> None:
    """Do `work` on every item in order, `in_flight` at a time; the first error cancels the rest and is raised."""
    queue = iter(items)

    async def one_after_another() -> None:
        for item in queue:
            await work(item)

    tasks = [asyncio.ensure_future(one_after_another()) for _ in range(min(in_flight, len(items)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _keep_answers(job: Job, wanted: set[Key]) -> set[Key]:
    """What is answered already. Answers to prompts of another length, from a model served with another context,
    are dropped from the file: their instances are asked again."""
    path = job.folder / "predictions.jsonl"
    if not path.is_file():
        return set()
    rows = read_records(path, Prediction, torn_tail=True)
    kept = {key: row for row in rows if (key := (job.folder, row.task, row.instance, row.prompt_sha256)) in wanted}
    if len(kept) != len(rows):
        write_jsonl(path, kept.values())
    return set(kept)


async def _predict_one(engine: Engine, request: Request, stage: Stage) -> Prediction:
    suite = request.job.suite_config
    answer = await engine.complete(request.prompt.ids, Sampling(suite.answer_tokens), adapter=request.job.adapter)
    stage.tokens["prompt"] += answer.prompt_tokens
    stage.tokens["completion"] += answer.completion_tokens
    text = POSTPROCESS[suite.postprocess](answer.text)
    rouge, exact = metrics(text, request.instance.references)
    return Prediction(
        model=request.job.contestant.name,
        suite=suite.name,
        task=request.instance.task,
        instance=request.instance.id,
        category=request.instance.category,
        prompt_sha256=request.prompt.sha256,
        prediction=text,
        raw=answer.text,
        references=list(request.instance.references),
        rougeL=rouge,
        exact_match=exact,
        finish_reason=answer.finish_reason,
    )
