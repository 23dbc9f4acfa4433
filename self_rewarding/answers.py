"""`pacos answer`: several sampled answers of one model to each task → `answers/answers.jsonl`, which a judge reads.

Answers are appended as they come and never requested again. At the end the file is put into the order of the tasks.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pacos.adapters import weights_sha256
from pacos.asked_chat import asked_tokenizer, stops_of_turns
from pacos.chat import form_prompts
from pacos.chat_templates import template_sha256
from pacos.config import AnswersConfig, Config, section_sha256
from pacos.errors import ConfigError, DataError
from pacos.extensions import TEMPLATES
from pacos.files import read_object, read_rows, write_json, write_jsonl, write_text
from pacos.models import ModelRef, load_tokenizer, resolve_model
from pacos.records import AnswerRow, Task, parse_task, read_records
from pacos.runs import Run, Stage
from pacos.serving.adapter_check import check_adapters
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.cost import charged
from pacos.serving.cpu import Workload
from pacos.serving.engine import Engine
from pacos.serving.requests import Ask, archive, ask_all
from pacos.templates import Template, template
from pacos.tokenization import Prompt

log = logging.getLogger("pacos")

# What the answers' `model` says where no adapter answers.
NO_ADAPTER = "base"


@dataclass(frozen=True, slots=True)
class NamedTask:
    """A task and its id: the row's own, or one made from its number."""

    id: str
    task: Task


def main(config: Config, run: Run) -> None:
    """Request `answers.samples` answers to each task; resumes at the first missing one.

    Raises ConfigError (answers that fill the context), DataError (tasks), ModelError (model or adapter), EngineError.
    """
    source = tasks_file(config)
    tasks = read_named_tasks(source)
    model = answering_model(config)
    asked_in = _asked_in(config, model)
    decides = _decides(config, asked_in, model.sha256, model.adapter_sha256)
    path = run.dir / "answers" / "answers.jsonl"
    if run.is_done("answers", *decides):
        log.info("answer: done already, nothing has changed: %s", path)
        return
    with run.stage("answers", *decides, inputs=[source]) as stage:
        _prepare_journal(path, config, asked_in, model)
        with charged(stage, config.engine):
            asyncio.run(_request_answers(config, model, tasks, path, stage))
        _sort_by_task(path, [one.id for one in tasks])
        stage.outputs.append(path)


def plan(config: Config) -> list[str]:
    """Return what would be requested, for --dry-run; starts nothing."""
    answers, model, source = config.answers, answering_model(config), tasks_file(config)
    if not source.is_file():
        return [
            f"tasks {source}: not there yet, an earlier stage writes it",
            f"{answers.samples} answers each by {model}",
        ]
    count = len(read_named_tasks(source))
    sampling = f"temperature {answers.temperature:g}, top_p {answers.top_p:g}"
    return [
        f"{count * answers.samples:,} answers: {answers.samples} to each of {count:,} tasks of {source}",
        f"by {model}, {sampling}, {answers.max_tokens} tokens at most",
    ]


def tasks_file(config: Config) -> Path:
    """Return `answers.tasks`, or the run's own dataset."""
    path = Path(config.answers.tasks) if config.answers.tasks else config.run_dir / "dataset"
    return path / "dataset.jsonl" if path.is_dir() or not path.suffix else path


def answering_model(config: Config) -> ModelRef:
    """Return the model that answers. Raises ModelError for a model or adapter that is not there, or does not fit."""
    adapter = Path(config.answers.adapter) if config.answers.adapter else None
    return resolve_model(config.answers.model or config.student, config.model, adapter)


def answering_form(config: Config, model: ModelRef) -> Template:
    """Return the template in which the model is asked: the one it was trained with, `train.template` where unknown."""
    return template(model.template if model.template in TEMPLATES else config.train.template)


def read_named_tasks(path: Path) -> list[NamedTask]:
    """Read tasks with their ids. Raises DataError with file and line for a broken row and for a duplicate id."""
    named: dict[str, Task] = {}
    for number, (where, values) in enumerate(read_rows(path), 1):
        task = parse_task(values, where=where)
        id = str(values.get("id") or f"row-{number:06d}")
        if id in named:
            raise DataError(f"duplicate id {id!r}", where=where)
        named[id] = task
    if not named:
        raise DataError("holds no tasks", where=str(path), todo="generate some first, or set answers.tasks")
    return [NamedTask(id, task) for id, task in named.items()]


def adapter_name(adapter: Path) -> str:
    """Return what the answers' `model` says: the run that made the adapter (`…/<run>/train/adapter`)."""
    folder = adapter.resolve()
    return folder.parents[1].name if folder.name == "adapter" else folder.name


def _asked_in(config: Config, model: ModelRef) -> str:
    """Names the text in which tasks are put: by the template's name, a chat template by its hash as well."""
    form = answering_form(config, model)
    if not form.is_chat:
        return form.name
    tokenizer = asked_tokenizer(load_tokenizer(model.base, config.model), model.adapter, config)
    return f"{form.name} {template_sha256(form, tokenizer)}"


def _decides(config: Config, asked_in: str, base_sha256: str, adapter_sha256: str) -> list[object]:
    """All that decides the answers to given tasks."""
    return [config.answers, asked_in, config.model, base_sha256, config.seed, adapter_sha256]


def _prepare_journal(path: Path, config: Config, asked_in: str, model: ModelRef) -> None:
    """Keep earlier answers that were requested with the same settings; archive others, and say what changed.

    What was unknown is assumed to be the same: the weights of a hub model before its download, and an adapter's
    configuration, which earlier versions did not record.
    """
    companion, named = path.with_name("settings.sha256"), path.with_name("settings.json")
    before = companion.read_text(encoding="utf-8", errors="replace") if companion.is_file() else ""
    now = section_sha256(*_decides(config, asked_in, model.sha256, model.adapter_sha256))
    settings = _named_settings(config, asked_in, model)
    if path.is_file() and before != now and before not in _of_earlier_versions(config, asked_in, model):
        log.warning("answer: all is asked again; %s", _what_changed(named, settings))
        archive(path, "requested with other settings; earlier answers are in")
    write_text(companion, now)
    write_json(named, settings)


def _of_earlier_versions(config: Config, asked_in: str, model: ModelRef) -> list[str]:
    """The hashes of these settings with what may have been unknown left out."""
    weights = weights_sha256(model.adapter) if model.adapter else ""
    unknown = product((model.sha256, ""), (model.adapter_sha256, weights))
    return [section_sha256(*_decides(config, asked_in, base, adapter)) for base, adapter in unknown]


def _named_settings(config: Config, asked_in: str, model: ModelRef) -> dict[str, object]:
    sections = {"answers": config.answers, "model": config.model}
    settings = {
        f"{name}.{key}": value for name, one in sections.items() for key, value in one.model_dump(mode="json").items()
    }
    shas = {"the base's weights": model.sha256, "the adapter's weights or configuration": model.adapter_sha256}
    return settings | {"train.template": asked_in, "seed": config.seed} | shas


def _what_changed(path: Path, settings: Mapping[str, object]) -> str:
    """The settings that differ from those in the file, which earlier versions did not write."""
    if not path.is_file():
        return "the settings changed since"
    before = read_object(path, todo="delete it, and the answers beside it")
    return "; ".join(f"{key} changed" for key, value in settings.items() if before.get(key) != value)


async def _request_answers(
    config: Config, model: ModelRef, tasks: Sequence[NamedTask], journal: Path, stage: Stage
) -> None:
    adapters = {adapter_name(model.adapter): model.adapter} if model.adapter else {}
    workload = Workload.of(len(tasks) * config.answers.samples, config.answers.max_tokens)
    async with open_engine(config, config.run_dir, model=model.base, adapters=adapters, workload=workload) as engine:
        form = answering_form(config, model)
        tokenizer = asked_tokenizer(engine.tokenizer, model.adapter, config)
        fitting = _fitting(config, engine, form, tokenizer, tasks)
        stops = stops_of_turns(tokenizer) if form.is_chat else ()
        asks = [
            _ask(config.answers, one, prompt, sample, stops, journal, next(iter(adapters), None))
            for sample, (one, prompt) in product(range(config.answers.samples), fitting)
        ]
        await check_adapters(engine, list(adapters), [ask.prompt_ids for ask in asks])
        await ask_all(engine, asks, read=AnswerRow, key_of=_key, stage=stage, doing="answering", unit="answers")


def _fitting(
    config: Config, engine: Engine, form: Template, tokenizer: Any, tasks: Sequence[NamedTask]
) -> list[tuple[NamedTask, Prompt]]:
    """The tasks whose prompts leave room for an answer."""
    room = engine.max_model_len - config.answers.max_tokens
    if room < 1:
        raise ConfigError(
            f"answers of {config.answers.max_tokens} tokens fill the model's context of {engine.max_model_len}",
            where="answers.max_tokens",
            todo="lower it, or raise engine.args.max_model_len",
        )
    texts = [form.render(one.task, f"{config.seed}:{one.id}")[0] for one in tasks]
    prompts = map(Prompt, texts, form_prompts(tokenizer, form, texts))
    fitting = [(one, prompt) for one, prompt in zip(tasks, prompts, strict=True) if len(prompt.ids) <= room]
    if len(fitting) < len(tasks):
        log.warning("answer: %d of %d tasks are left out: too long", len(tasks) - len(fitting), len(tasks))
    if not fitting:
        raise DataError("no task leaves room for an answer", where=str(tasks_file(config)))
    return fitting


def _ask(
    answers: AnswersConfig,
    one: NamedTask,
    prompt: Prompt,
    sample: int,
    stops: tuple[int, ...],
    journal: Path,
    adapter: str | None,
) -> Ask[AnswerRow]:
    def record(answer: Completion) -> AnswerRow:
        return AnswerRow(
            id=one.id,
            instruction=one.task.instruction,
            input=one.task.input,
            output=answer.text,
            model=adapter or NO_ADAPTER,
            sample=sample,
            prompt_sha256=prompt.sha256,
            finish_reason=answer.finish_reason,
        )

    sampling = Sampling(
        answers.max_tokens,
        answers.temperature,
        answers.top_p,
        presence_penalty=answers.presence_penalty,
        seed=None if answers.seed is None else answers.seed + sample,
        stop_token_ids=stops,
    )
    return Ask((one.id, sample, prompt.sha256), prompt.ids, sampling, journal, record, adapter)


def _sort_by_task(path: Path, ids: Sequence[str]) -> None:
    place = {id: number for number, id in enumerate(ids)}
    rows = sorted(read_records(path, AnswerRow), key=lambda row: (place[row.id], row.sample))
    write_jsonl(path, rows)


def _key(row: AnswerRow) -> tuple[str, int, str]:
    return row.id, row.sample, row.prompt_sha256
