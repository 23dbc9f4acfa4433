"""Answers of all models that share one base, from one server.

Requests are interleaved over (instance, model), so that the adapters share batches.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.asked_chat import asked_tokenizer, stops_of_turns
from pacos.config import Config, SuiteConfig
from pacos.errors import ConfigError
from pacos.evaluate.evaluation import keep_answers, write_evaluation
from pacos.evaluate.metrics import EXACT_MATCH, ROUGE_L, postprocess
from pacos.evaluate.models import EvaluatedModel
from pacos.evaluate.prompts import count_shortened, fit_prompts, suite_encoding
from pacos.records import Prediction
from pacos.results.evaluation import AdapterCheck, Evaluation, EvaluationSettings
from pacos.runs import Stage
from pacos.serving.adapter_check import check_adapters
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.cpu import Workload
from pacos.serving.engine import Engine
from pacos.serving.requests import Ask, ask_all
from pacos.superni.tasks import Instance, Suite
from pacos.tokenization import Prompt


@dataclass(frozen=True, slots=True)
class Job:
    """One `eval/<label>/` to fill: the model that answers a suite, and the folder of its answers."""

    evaluated: EvaluatedModel
    suite_config: SuiteConfig
    suite: Suite
    settings: EvaluationSettings
    folder: Path

    @property
    def adapter(self) -> str | None:
        """The adapter's name on the server."""
        return self.evaluated.name if self.evaluated.model.adapter else None

    @property
    def suite_key(self) -> str:
        """What jobs with the same prompts have in common."""
        return f"{self.suite_config.name} {self.suite_config.prompt} {self.settings.chat_template_sha256}"

    def is_done(self) -> bool:
        """Whether nothing is left to answer. Earlier answers under other settings are archived."""
        return keep_answers(self.folder, self.settings) and (self.folder / "scores.json").is_file()


@dataclass(frozen=True, slots=True)
class Asked:
    """A suite's prompts, one per instance, and the ids besides EOS at which their answers end."""

    prompts: list[Prompt]
    stops: tuple[int, ...]


async def predict(config: Config, run_dir: Path, jobs: Sequence[Job], stage: Stage) -> None:
    """Fill the folders of `jobs`, which share one base, and one adapter where adapters are served merged.

    Raises ModelError for an adapter that answers as the base does, and as `open_engine` and `fit_prompts` do.
    """
    adapters = {job.evaluated.name: job.evaluated.model.adapter for job in jobs if job.evaluated.model.adapter}
    most = max(job.suite_config.answer_tokens for job in jobs)
    tokens = sum(Workload.of(len(job.suite.instances), job.suite_config.answer_tokens).tokens for job in jobs)
    model = jobs[0].evaluated.model.base
    async with open_engine(config, run_dir, model=model, adapters=adapters, workload=Workload(tokens, most)) as engine:
        asked: dict[str, Asked] = {}
        for job in jobs:
            if job.suite_key not in asked:
                asked[job.suite_key] = _asked(engine, job, config)
        first = asked[jobs[0].suite_key]
        checks = await check_adapters(engine, list(adapters), [prompt.ids for prompt in first.prompts])
        asks = []
        for job in jobs:
            own = asked[job.suite_key]
            check = checks.get(job.evaluated.name, AdapterCheck())
            write_evaluation(job.folder, Evaluation(job.settings, count_shortened(own.prompts), check))
            pairs = zip(job.suite.instances, own.prompts, strict=True)
            asks.append([_ask(job, instance, prompt, own.stops) for instance, prompt in pairs])
        await ask_all(
            engine,
            _interleaved(asks),
            read=Prediction,
            key_of=lambda row: (row.task, row.instance, row.prompt_sha256),
            stage=stage,
            doing="evaluating",
            unit="answers",
        )


def _asked(engine: Engine, job: Job, config: Config) -> Asked:
    room = job.suite_config.prompt_room(engine.max_model_len)
    if room < 1:
        raise ConfigError(
            f"answers of {job.suite_config.answer_tokens} tokens fill the model's context of {engine.max_model_len}",
            where=f"evaluate.suites: {job.suite_config.name}",
            todo="lower max_tokens, or raise engine.args.max_model_len",
        )
    encoding = suite_encoding(job.suite_config)
    if not encoding.is_chat:
        return Asked(fit_prompts(engine.tokenizer, encoding, job.suite.instances, room), ())
    tokenizer = asked_tokenizer(engine.tokenizer, job.evaluated.model.adapter, config)
    return Asked(fit_prompts(tokenizer, encoding, job.suite.instances, room), stops_of_turns(tokenizer))


def _interleaved(asks: Sequence[Sequence[Ask[Prediction]]]) -> list[Ask[Prediction]]:
    """First request of each job, second of each, …"""
    longest = max(len(of_job) for of_job in asks)
    return [of_job[index] for index in range(longest) for of_job in asks if index < len(of_job)]


def _ask(job: Job, instance: Instance, prompt: Prompt, stops: tuple[int, ...]) -> Ask[Prediction]:
    suite = job.suite_config
    scored_part, rouge_l = postprocess(suite.postprocess), ROUGE_L.measure_by(job.settings.tokenizer)

    def record(answer: Completion) -> Prediction:
        text = scored_part(answer.text)
        return Prediction(
            model=job.evaluated.name,
            suite=suite.name,
            task=instance.task,
            instance=instance.id,
            category=instance.category,
            prompt_sha256=prompt.sha256,
            prediction=text,
            raw=answer.text,
            references=list(instance.references),
            rougeL=rouge_l(text, instance.references),
            exact_match=EXACT_MATCH.measure(text, instance.references),
            finish_reason=answer.finish_reason,
        )

    key = (instance.task, instance.id, prompt.sha256)
    journal = job.folder / "predictions.jsonl"
    sampling = Sampling(suite.answer_tokens, stop_token_ids=stops)
    return Ask(key, prompt.ids, sampling, journal, record, job.adapter)
