"""`pacos judge`: a local model grades answers, scores them, or compares them blind; `judge/<kind>--<suite>/`.

`judgements.jsonl` there is append-only: a killed run goes on at the first judgement that is missing. `judge.json`
says who judged and how, `results.json` what came of it.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pacos.config import Config
from pacos.errors import DataError
from pacos.evaluate.judge.answers import Answers
from pacos.evaluate.judge.prompts import CHOICES, FIRST, PROMPTS, SECOND, Kind, read_verdict
from pacos.evaluate.judge.questions import Question, ask_about, fit
from pacos.evaluate.judge.results import summary, table
from pacos.models import load_tokenizer, model_sha256, read_adapter_config
from pacos.records import Judgement, read_records, write_json
from pacos.runs import Run, Stage, file_sha256
from pacos.serving.adapter_check import check_adapters
from pacos.serving.cost import cost
from pacos.serving.cpu import Workload
from pacos.serving.engine import Completion, Sampling, open_engine
from pacos.serving.requests import Ask, archive, ask_all
from pacos.templates import Prompt

log = logging.getLogger("pacos")

ADAPTER = "judge"
CHANGED = "the judge or what it is asked has changed; earlier judgements are in"
# A letter, and the end-of-text behind it.
LETTER_TOKENS = 4


@dataclass(frozen=True, slots=True)
class Settings:
    """All that decides a judgement, besides the answer judged."""

    kind: Kind
    model: str
    model_sha256: str
    dtype: str
    adapter: str
    adapter_sha256: str
    template: str
    prompt_sha256: str
    temperature: float
    top_p: float
    max_tokens: int


def main(config: Config, run: Run, kind: Kind, answers: Answers) -> dict[str, Any]:
    """Judge all `answers` and return what `results.json` holds; goes on at the first missing judgement.

    Raises ConfigError, DataError (pairwise: fewer than two models, unlike items), ModelError, EngineError.
    """
    settings, questions = settings_of(config, kind), ask_about(kind, answers, config.evaluate.judge.samples)
    folder = run.dir / "judge" / f"{kind}--{answers.suite}"
    stage_name = f"judge/{folder.name}"
    decides = [asdict(settings), [[*question.key, question.sha256] for question in questions]]
    results = folder / "results.json"
    if run.is_done(stage_name, *decides):
        log.info("judge: done already, nothing has changed: %s", folder)
        return dict(json.loads(results.read_text(encoding="utf-8")))
    with run.stage(stage_name, *decides, inputs=answers.files) as stage:
        began = time.monotonic()
        _take_up(folder, settings)
        asyncio.run(_judge(config, run.dir, settings, questions, folder, stage))
        seconds = time.monotonic() - began
        stage.cost = round(cost(config, seconds, stage.tokens["prompt"], stage.tokens["completion"]), 4)
        judgements = read_records(folder / "judgements.jsonl", Judgement)
        found = {"suite": answers.suite, "judge": asdict(settings), **summary(kind, answers, judgements)}
        write_json(results, found)
        stage.outputs += [folder / "judgements.jsonl", results]
    log.info("%s", table(found))
    return found


def plan(config: Config, kind: Kind, answers: Answers) -> list[str]:
    """What would be judged by whom, for --dry-run; starts nothing."""
    settings = settings_of(config, kind)
    questions = ask_about(kind, answers, config.evaluate.judge.samples)
    items = len({answer.item for answer in answers.answers})
    judge = settings.model + (f" + {settings.adapter}" if settings.adapter else "")
    return [
        f"{answers.suite}: {len(answers.answers):,} answers to {items:,} items by {', '.join(answers.models)}",
        f"judge: {judge}, template {settings.template}",
        f"{len(questions):,} {kind} judgements, {config.engine.concurrency}",
    ]


def settings_of(config: Config, kind: Kind) -> Settings:
    """Raises ModelError for a judge that is not there."""
    judge = config.evaluate.judge
    model = judge.model or config.teacher
    adapter = Path(judge.adapter) if judge.adapter else None
    if adapter:
        read_adapter_config(adapter)
    template = judge.template
    if template == "auto":
        template = "chat" if load_tokenizer(model, config.model).chat_template else "alpaca"
    free = kind == "additive"
    return Settings(
        kind=kind,
        model=model,
        model_sha256=model_sha256(model, config.model),
        dtype=config.model.dtype,
        adapter=str(adapter or ""),
        adapter_sha256=file_sha256(adapter / "adapter_model.safetensors") if adapter else "",
        template=template,
        prompt_sha256=hashlib.sha256(PROMPTS[kind].encode()).hexdigest(),
        temperature=judge.temperature if free else 0.0,
        top_p=judge.top_p if free else 1.0,
        max_tokens=judge.max_tokens if free else LETTER_TOKENS,
    )


def _take_up(folder: Path, settings: Settings) -> None:
    """Earlier judgements stay where the same judge made them in the same way; others are archived, not deleted."""
    path, judgements = folder / "judge.json", folder / "judgements.jsonl"
    now = asdict(settings)
    try:
        same = json.loads(path.read_text(encoding="utf-8")) == now
    except FileNotFoundError:
        same = False
    except json.JSONDecodeError as broken:
        raise DataError(f"not JSON: {broken}", where=str(path), todo="delete its folder and judge again") from None
    if not same and judgements.is_file():
        archive(judgements, CHANGED)
    write_json(path, now)


async def _judge(
    config: Config, run_dir: Path, settings: Settings, questions: Sequence[Question], folder: Path, stage: Stage
) -> None:
    adapters = {ADAPTER: Path(settings.adapter)} if settings.adapter else {}
    workload = Workload.of(len(questions), settings.max_tokens)
    async with open_engine(config, run_dir, model=settings.model, adapters=adapters, workload=workload) as engine:
        room = engine.max_model_len - settings.max_tokens
        asked = [(one, fit(one.write, settings.template, engine.tokenizer, room)) for one in questions]
        await check_adapters(engine, list(adapters), [prompt.ids for _, prompt in asked])
        asks = [_ask(settings, question, prompt, folder / "judgements.jsonl") for question, prompt in asked]
        await ask_all(engine, asks, read=Judgement, key_of=_key, stage=stage, doing="judging", unit="judgements")


def _key(row: Judgement) -> tuple[str, str, str, int, int, str]:
    return row.item, row.model, row.against, row.sample, row.repeat, row.prompt_sha256


def _ask(settings: Settings, question: Question, prompt: Prompt, journal: Path) -> Ask[Judgement]:
    def record(answer: Completion) -> Judgement:
        verdict = read_verdict(settings.kind, answer.text, answer.finish_reason)
        if settings.kind == "pairwise" and verdict:
            own = SECOND if question.repeat == 0 else FIRST
            verdict = "win" if verdict == own else "loss" if verdict in (FIRST, SECOND) else "tie"
        return Judgement(
            kind=settings.kind,
            item=question.item,
            model=question.model,
            against=question.against,
            sample=question.sample,
            repeat=question.repeat,
            prompt_sha256=prompt.sha256,
            truncated=prompt.truncated,
            verdict=verdict,
            text=answer.text,
            finish_reason=answer.finish_reason,
        )

    sampling = Sampling(settings.max_tokens, settings.temperature, settings.top_p, choice=CHOICES[settings.kind])
    key = (*question.key, prompt.sha256)
    return Ask(key, prompt.ids, sampling, journal, record, ADAPTER if settings.adapter else None)
