"""`pacos judge`: a local model grades answers, scores them, or compares them blind; `judge/<kind>--<suite>/`.

`judgements.jsonl` there is append-only: a killed run resumes at the first missing judgement. `judge.json` has the
settings, `mark.key` the key of the prompts' marks, `results.json` the figures.
"""

import asyncio
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pacos.adapters import weights_sha256
from pacos.asked_chat import asked_tokenizer, stops_of_turns
from pacos.config import Config
from pacos.evaluate.judge.answers import AnswerSet
from pacos.evaluate.judge.kinds import JudgeKind, JudgeQuestion, judge_kind, judge_table
from pacos.evaluate.judge.marks import KEY_FILE, SETTINGS_FILE, UNKEYED, open_key
from pacos.evaluate.judge.prompts import fit_prompt
from pacos.files import read_object, safe_name, write_json
from pacos.models import load_tokenizer, resolve_model
from pacos.records import Judgement, read_records
from pacos.results import read_result, write_result
from pacos.results.judging import JudgeResults, JudgeSettings
from pacos.runs import Run, Stage
from pacos.serving.adapter_check import check_adapters
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.cost import charged
from pacos.serving.cpu import Workload
from pacos.serving.requests import Ask, archive, ask_all
from pacos.tokenization import Prompt

log = logging.getLogger("pacos")

ADAPTER = "judge"


def main(config: Config, run: Run, kind: str, answers: AnswerSet) -> JudgeResults:
    """Judge all `answers` and return the results; resumes at the first missing judgement.

    Raises ConfigError, DataError (pairwise: fewer than two models, different items), ModelError, EngineError.
    """
    judge = judge_kind(kind)
    settings = judge_settings(config, judge)
    folder = run.dir / "judge" / f"{kind}--{safe_name(answers.suite)}"
    key = open_key(folder)
    questions = judge.questions(answers, config.evaluate.judge.samples, key)
    stage_name = f"judge/{folder.name}"
    decides = [asdict(settings), [[*question.key, question.sha256] for question in questions]]
    results = folder / "results.json"
    if run.is_done(stage_name, *decides):
        log.info("judge: done already, nothing has changed: %s", folder)
        earlier: JudgeResults = read_result(results, judge.results, todo="delete its folder and judge again")
        return earlier
    with run.stage(stage_name, *decides, inputs=answers.files) as stage:
        with charged(stage, config.engine):
            _prepare_folder(folder, settings, key)
            asyncio.run(_request_judgements(config, run.dir, settings, questions, folder, stage))
        judgements = read_records(folder / "judgements.jsonl", Judgement)
        found: JudgeResults = judge.summarise(settings, answers, judgements)
        write_result(results, found)
        stage.outputs += [folder / "judgements.jsonl", results]
    log.info("%s", judge_table(found))
    return found


def plan(config: Config, kind: str, answers: AnswerSet) -> list[str]:
    """Return what would be judged by which model, for --dry-run; starts nothing."""
    judge = judge_kind(kind)
    settings = judge_settings(config, judge)
    questions = judge.questions(answers, config.evaluate.judge.samples, UNKEYED)  # to count them
    items = len({answer.item for answer in answers.answers})
    model = settings.model + (f" + {settings.adapter}" if settings.adapter else "")
    return [
        f"{answers.suite}: {len(answers.answers):,} answers to {items:,} items by {', '.join(answers.models)}",
        f"judge: {model}, template {settings.template}",
        f"{len(questions):,} {kind} judgements, {config.engine.concurrency}",
    ]


def judge_settings(config: Config, kind: JudgeKind[Any]) -> JudgeSettings:
    """Return everything that determines a judgement. Raises ModelError for a judge that is not there."""
    judge = config.evaluate.judge
    adapter = Path(judge.adapter) if judge.adapter else None
    model = resolve_model(judge.model or config.teacher, config.model, adapter)
    template: str = judge.template
    if template == "auto":
        tokenizer = asked_tokenizer(load_tokenizer(model.base, config.model), adapter)
        template = "chat" if tokenizer.chat_template else "alpaca"
    sampling = kind.sampling(judge)
    return JudgeSettings(
        kind=kind.name,
        model=model.base,
        model_sha256=model.sha256,
        dtype=config.model.dtype,
        adapter=str(adapter or ""),
        adapter_sha256=model.adapter_sha256,
        template=template,
        prompt_sha256=hashlib.sha256(kind.prompt.encode()).hexdigest(),
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=sampling.max_tokens,
    )


def _prepare_folder(folder: Path, settings: JudgeSettings, key: bytes) -> None:
    """Keep earlier judgements that were made with the same settings; archive others."""
    path, judgements = folder / SETTINGS_FILE, folder / "judgements.jsonl"
    values = asdict(settings) | ({} if key == UNKEYED else {"mark_key": KEY_FILE})
    earlier = read_object(path, todo="delete its folder and judge again") if path.is_file() else {}
    changed = sorted(name for name in earlier.keys() | values.keys() if not _is_same(name, earlier.get(name), values))
    if changed and judgements.is_file():
        log.warning("judge: other %s than earlier judgements", ", ".join(changed))
        archive(judgements, "the judge or its questions have changed; earlier judgements are in")
    write_json(path, values)


def _is_same(key: str, earlier: Any, values: Mapping[str, Any]) -> bool:
    """Whether a setting is as it was. Earlier versions named an adapter by its weights alone, and a fingerprint is ""
    where the model was not downloaded."""
    now = values.get(key)
    if key == "model_sha256" and "" in (earlier, now):
        return True
    if key == "adapter_sha256" and values["adapter"] and earlier != now:
        return bool(earlier == weights_sha256(Path(values["adapter"])))
    return bool(earlier == now)


async def _request_judgements(
    config: Config,
    run_dir: Path,
    settings: JudgeSettings,
    questions: Sequence[JudgeQuestion],
    folder: Path,
    stage: Stage,
) -> None:
    adapters = {ADAPTER: Path(settings.adapter)} if settings.adapter else {}
    workload = Workload.of(len(questions), settings.max_tokens)
    async with open_engine(config, run_dir, model=settings.model, adapters=adapters, workload=workload) as engine:
        room = engine.max_model_len - settings.max_tokens
        tokenizer = asked_tokenizer(engine.tokenizer, adapters.get(ADAPTER))
        prompts = [fit_prompt(one.write, settings.template, tokenizer, room) for one in questions]
        await check_adapters(engine, list(adapters), [prompt.ids for prompt in prompts])
        journal = folder / "judgements.jsonl"
        stops = stops_of_turns(tokenizer) if settings.template == "chat" else ()
        asks = [_ask(settings, *asked, stops, journal) for asked in zip(questions, prompts, strict=True)]
        await ask_all(engine, asks, read=Judgement, key_of=_key, stage=stage, doing="judging", unit="judgements")


def _key(row: Judgement) -> tuple[str, str, str, int, int, str]:
    return row.item, row.model, row.against, row.sample, row.repeat, row.prompt_sha256


def _ask(
    settings: JudgeSettings, question: JudgeQuestion, prompt: Prompt, stops: tuple[int, ...], journal: Path
) -> Ask[Judgement]:
    kind = judge_kind(settings.kind)

    def record(answer: Completion) -> Judgement:
        verdict = kind.read_verdict(answer.text, answer.finish_reason)
        return Judgement(
            kind=settings.kind,
            item=question.item,
            model=question.model,
            against=question.against,
            sample=question.sample,
            repeat=question.repeat,
            prompt_sha256=prompt.sha256,
            truncated=prompt.truncated,
            verdict=kind.recorded_verdict(question, verdict),
            text=answer.text,
            finish_reason=answer.finish_reason,
        )

    sampling = Sampling(
        settings.max_tokens, settings.temperature, settings.top_p, choice=kind.choices, stop_token_ids=stops
    )
    key = (*question.key, prompt.sha256)
    return Ask(key, prompt.ids, sampling, journal, record, ADAPTER if settings.adapter else None)
