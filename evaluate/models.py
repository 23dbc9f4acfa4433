"""The models under evaluation: the base, the run's own, and `evaluate.models`; all checked before anything starts."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.asked_chat import saved_chat_template
from pacos.chat_templates import chat_template_sha256
from pacos.config import Config, ModelEntry
from pacos.errors import ConfigError, ModelError
from pacos.extensions import TEMPLATES
from pacos.models import ModelRef, resolve_model
from pacos.templates import template

BASE = "base"
TUNED = "tuned"
COPY_INPUT = "copy-input"
COPY_DEMONSTRATION = "copy-demonstration"


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model under evaluation, and its name in results."""

    name: str
    model: ModelRef


def models_under_evaluation(config: Config, trained: Path) -> list[EvaluatedModel]:
    """The base first, then `tuned` if the run has trained one, then `evaluate.models` in their order.

    `trained` is the run's adapter, or its full model.

    Raises ConfigError: a duplicate name, an entry without model and adapter, a second base with `engine.url`. Raises
    ModelError: a model or adapter that is missing, an adapter of another base, rank or template.
    """
    base = config.student
    entries: list[tuple[str, str, Path | None]] = [(BASE, base, None)]
    if trained.is_dir():
        entries.append((TUNED, str(trained), None) if config.train.result == "model" else (TUNED, base, trained))
    for index, entry in enumerate(config.evaluate.models):
        if entry.model is None and entry.adapter is None:
            raise ConfigError(
                f"{entry.name!r} names neither a model nor an adapter",
                where=f"evaluate.models[{index}]",
                todo="give one of them; the base itself is always evaluated",
            )
        entries.append((entry.name, entry.model or base, Path(entry.adapter) if entry.adapter else None))
    _check_names([name for name, _, _ in entries])
    _check_url(config, {model for _, model, _ in entries})
    models = [EvaluatedModel(name, resolve_model(model, config.model, adapter)) for name, model, adapter in entries]
    for one in models:
        _check_template(one.model)
        _check_base(one.model)
    return models


def checkpoint_adapters(run_dir: Path) -> list[ModelEntry]:
    """`evaluate.models` entries for every complete checkpoint of a run, by step: `<run>-step-200`.

    Raises ModelError if the run has none.
    """
    saved = (run_dir / "train" / "checkpoints").glob("step-*")
    complete = {f"{run_dir.name}-{path.name}": path for path in saved if (path / "COMPLETE").is_file()}
    names = sorted(filter(training_step, complete), key=training_step)
    if not names:
        raise ModelError(
            "holds no complete checkpoint",
            where=str(run_dir / "train" / "checkpoints"),
            todo="train with a smaller train.save_steps and a larger train.keep",
        )
    return [ModelEntry(name=name, adapter=str(complete[name] / "adapter")) for name in names]


def training_step(name: str) -> int:
    """The optimizer step in a checkpoint's name; 0 for any other model."""
    found = re.fullmatch(r".*-step-([0-9]{1,12})", name, re.DOTALL)
    return int(found[1]) if found else 0


def _check_names(names: Sequence[str]) -> None:
    reserved = [*names, COPY_INPUT, COPY_DEMONSTRATION]
    for name in names:
        if reserved.count(name) > 1:
            raise ConfigError(
                f"the name {name!r} is taken",
                where="evaluate.models",
                todo=f"choose another; {BASE}, {TUNED}, {COPY_INPUT} and {COPY_DEMONSTRATION} are reserved",
            )


def _check_url(config: Config, models: set[str]) -> None:
    """A server given by URL serves one base, and that must be the one to evaluate."""
    if not config.engine.url:
        return
    served = config.engine.model or config.student
    if others := sorted(models - {served}):
        raise ConfigError(
            f"the server at `engine.url` serves {served}; it cannot answer as {others[0]}",
            where="evaluate.models",
            todo="leave `engine.url` out, so that a server is started for each base in turn",
        )


def _check_base(model: ModelRef) -> None:
    """pacos.json says what an adapter was trained on. Adapters from elsewhere have none, and vLLM checks them."""
    trained = model.provenance
    if model.adapter is None or not trained:
        return
    trained_sha256 = trained.get("base_sha256", "")
    known = bool(trained_sha256 and model.sha256)
    same = trained_sha256 == model.sha256 if known else trained.get("base") == model.base
    if not same:
        raise ModelError(
            f"this adapter was trained on {trained.get('base')}, and would be served with {model.base}",
            where=str(model.adapter),
            todo="name its base in `evaluate.models`, or remove it there",
        )


def _check_template(model: ModelRef) -> None:
    """A template's text may change between versions, which its name does not show; that of a chat template lies beside
    the weights."""
    form = template(model.template) if model.template in TEMPLATES else None
    if form and form.is_chat:
        _check_chat_template(model)
    elif model.provenance and model.provenance.get("template_sha256") != (form.sha256 if form else None):
        raise ModelError(
            f"this was trained with a text of the template {model.template!r} that is not this version's",
            where=str((model.adapter or Path(model.base)) / "pacos.json"),
            todo="evaluate it with the version that trained it, or train it again",
        )


def _check_chat_template(model: ModelRef) -> None:
    folder = model.adapter or Path(model.base)
    text = saved_chat_template(folder)
    if chat_template_sha256(text or "") != model.provenance.get("template_sha256"):
        raise ModelError(
            "the chat template beside the weights is not the one that they were trained with"
            if text
            else "was trained in a chat template, and has none beside the weights",
            where=str(folder / "chat_template.jinja"),
            todo="copy the folder again",
        )


def template_mismatches(models: Sequence[EvaluatedModel], prompts: Collection[str]) -> list[str]:
    """A line for each model that a suite prompts in a training template other than the model's own.

    SuperNI's own encodings are no training templates, and so no mismatch. Of other templates, the chat template beside
    the weights has the form without an input.
    """
    asked = sorted(set(prompts) & set(TEMPLATES))
    lines = []
    for one in models:
        for prompt in asked:
            if one.model.template in ("", prompt):
                continue
            trained = one.model.template
            line = f"{one.name} was trained with the template {trained}, and is asked with the prompt {prompt}"
            if template(prompt).is_chat and saved_chat_template(one.model.adapter or Path(one.model.base)):
                line += f": in {trained}'s form without an input, its instruction being the user's turn"
            lines.append(line)
    return lines
