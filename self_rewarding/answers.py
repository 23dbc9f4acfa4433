"""`pacos answer`: several sampled answers of one model to each task → `answers/answers.jsonl`, which a judge reads.

Answers are appended as they come and not asked for again. At the end the file is put into the order of the tasks.
"""

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from pacos.config import Config
from pacos.errors import ConfigError, DataError
from pacos.models import check_adapter_fits, model_sha256
from pacos.records import AnswerRow, Task, parse_task, read_records, read_rows, write_jsonl, write_text
from pacos.runs import Run, Stage, file_sha256
from pacos.serving.adapter_check import check_adapters
from pacos.serving.cost import cost
from pacos.serving.cpu import Workload
from pacos.serving.engine import Completion, Engine, Sampling, open_engine
from pacos.serving.requests import Ask, archive, ask_all
from pacos.templates import Prompt, encode_prompts, template

log = logging.getLogger("pacos")


def main(config: Config, run: Run) -> None:
    """Ask for `answers.samples` answers to each task; goes on at the first that is missing.

    Raises ConfigError (answers that fill the context), DataError (tasks), ModelError (model or adapter), EngineError.
    """
    source = tasks_file(config)
    tasks = read_named_tasks(source)
    model, adapter = answering_model(config)
    decides = [config.answers, config.train.template, config.model, model_sha256(model, config.model), config.seed]
    decides.append(file_sha256(adapter / "adapter_model.safetensors") if adapter else "")
    path = run.dir / "answers" / "answers.jsonl"
    if run.is_done("answers", *decides):
        log.info("answer: done already, nothing has changed: %s", path)
        return
    with run.stage("answers", *decides, inputs=[source]) as stage:
        _take_up(path, stage.config_sha256)
        began = time.monotonic()
        asyncio.run(_answer_all(config, run.dir, tasks, path, stage))
        seconds = time.monotonic() - began
        stage.cost = round(cost(config, seconds, stage.tokens["prompt"], stage.tokens["completion"]), 4)
        stage.outputs.append(path)


def plan(config: Config) -> list[str]:
    """What would be asked, for --dry-run; starts nothing."""
    answers, (model, adapter) = config.answers, answering_model(config)
    who = model + (f" + {adapter}" if adapter else "")
    source = tasks_file(config)
    if not source.is_file():
        return [
            f"tasks {source}: not there yet, an earlier stage writes it",
            f"{answers.samples} answers each by {who}",
        ]
    count = len(read_named_tasks(source))
    return [
        f"{count * answers.samples:,} answers: {answers.samples} to each of {count:,} tasks of {source}",
        f"by {who}, temperature {answers.temperature:g}, top_p {answers.top_p:g}, {answers.max_tokens} tokens at most",
    ]


def tasks_file(config: Config) -> Path:
    path = Path(config.answers.tasks) if config.answers.tasks else config.run_dir / "dataset"
    return path / "dataset.jsonl" if path.is_dir() or not path.suffix else path


def answering_model(config: Config) -> tuple[str, Path | None]:
    """(model, adapter). Raises ModelError for an adapter that is not there, or of another base."""
    model = config.answers.model or config.student
    adapter = Path(config.answers.adapter) if config.answers.adapter else None
    if adapter:
        check_adapter_fits(adapter, model, config.model)
    return model, adapter


def read_named_tasks(path: Path) -> list[tuple[str, Task]]:
    """(id, task) of each row: its own `id`, or its number where it has none. Raises DataError with file and line."""
    named: dict[str, Task] = {}
    for number, (where, values) in enumerate(read_rows(path), 1):
        task = parse_task(values, where=where)
        id = str(values.get("id") or f"row-{number:06d}")
        if id in named:
            raise DataError(f"the id {id!r} is there twice", where=where)
        named[id] = task
    if not named:
        raise DataError("holds no tasks", where=str(path), todo="generate some first, or set answers.tasks")
    return list(named.items())


def _take_up(path: Path, settings_sha256: str) -> None:
    """Earlier answers stay where they were asked for with the same settings; others are archived, not deleted."""
    companion = path.with_name("settings.sha256")
    before = companion.read_text(encoding="utf-8") if companion.is_file() else ""
    if path.is_file() and before != settings_sha256:
        archive(path, "asked for with other settings; earlier answers are in")
    write_text(companion, settings_sha256)


async def _answer_all(
    config: Config, run_dir: Path, tasks: Sequence[tuple[str, Task]], path: Path, stage: Stage
) -> None:
    model, adapter = answering_model(config)
    name = adapter_name(config) if adapter else None
    adapters = {name: adapter} if name and adapter else {}
    workload = Workload.of(len(tasks) * config.answers.samples, config.answers.max_tokens)
    async with open_engine(config, run_dir, model=model, adapters=adapters, workload=workload) as engine:
        asks = _asks(config, engine, tasks, path, name)
        await check_adapters(engine, list(adapters), [ask.prompt_ids for ask in asks])
        await ask_all(engine, asks, read=AnswerRow, key_of=_key, stage=stage, doing="answering", unit="answers")
    _put_in_order(path, [id for id, _ in tasks])


def adapter_name(config: Config) -> str:
    """What the answers' `model` says: the run that made the adapter (`…/<run>/train/adapter`)."""
    folder = Path(config.answers.adapter or "").resolve()
    return folder.parents[1].name if folder.name == "adapter" else folder.name


def _asks(
    config: Config, engine: Engine, tasks: Sequence[tuple[str, Task]], journal: Path, adapter: str | None
) -> list[Ask[AnswerRow]]:
    """All that is to be asked, the first answers of all tasks in front. Tasks that leave no room are left out."""
    answers = config.answers
    room = engine.max_model_len - answers.max_tokens
    if room < 1:
        raise ConfigError(
            f"answers of {answers.max_tokens} tokens fill the model's context of {engine.max_model_len}",
            where="answers.max_tokens",
            todo="lower it, or raise engine.args.max_model_len",
        )
    texts = [template(config.train.template).render(task, f"{config.seed}:{id}")[0] for id, task in tasks]
    prompts = map(Prompt, texts, encode_prompts(engine.tokenizer, texts))
    fitting = [(named, prompt) for named, prompt in zip(tasks, prompts, strict=True) if len(prompt.ids) <= room]
    if len(fitting) < len(tasks):
        log.warning("answer: %d of %d tasks are left out: too long", len(tasks) - len(fitting), len(tasks))
    if not fitting:
        raise DataError("no task leaves room for an answer", where=str(tasks_file(config)))
    return [
        _ask(config, id, task, sample, prompt, journal, adapter)
        for sample, ((id, task), prompt) in product(range(answers.samples), fitting)
    ]


def _ask(
    config: Config, id: str, task: Task, sample: int, prompt: Prompt, journal: Path, adapter: str | None
) -> Ask[AnswerRow]:
    def record(answer: Completion) -> AnswerRow:
        return AnswerRow(
            id=id,
            instruction=task.instruction,
            input=task.input,
            output=answer.text,
            model=adapter or "base",
            sample=sample,
            prompt_sha256=prompt.sha256,
            finish_reason=answer.finish_reason,
        )

    answers = config.answers
    sampling = Sampling(
        answers.max_tokens,
        answers.temperature,
        answers.top_p,
        presence_penalty=answers.presence_penalty,
        seed=None if answers.seed is None else answers.seed + sample,
    )
    return Ask((id, sample, prompt.sha256), prompt.ids, sampling, journal, record, adapter)


def _put_in_order(path: Path, ids: Sequence[str]) -> None:
    place = {id: number for number, id in enumerate(ids)}
    rows = sorted(read_records(path, AnswerRow), key=lambda row: (place[row.id], row.sample))
    write_jsonl(path, rows)


def _key(row: AnswerRow) -> tuple[str, int, str]:
    return row.id, row.sample, row.prompt_sha256
