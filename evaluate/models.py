"""Who is evaluated: the base, the run's own adapter, and `evaluate.models`; all checked before anything starts."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.config import Config
from pacos.config import Contestant as Entry
from pacos.errors import ConfigError, ModelError
from pacos.extensions import TEMPLATES
from pacos.models import check_adapter_fits, model_sha256, read_provenance
from pacos.runs import file_sha256
from pacos.templates import template

BASE = "base"
TUNED = "tuned"
COPY_INPUT = "copy-input"
COPY_DEMONSTRATION = "copy-demonstration"


@dataclass(frozen=True, slots=True)
class Contestant:
    """A model, or an adapter on it. The hashes are "" where there is no such file at hand."""

    name: str
    base: str
    base_sha256: str
    adapter: Path | None = None
    adapter_sha256: str = ""


def contestants(config: Config, own: Path) -> list[Contestant]:
    """The base first, then `tuned` if the run has trained one, then `evaluate.models` in their order.

    `own` is the run's adapter, or its whole model.

    Raises ConfigError: a name that is taken, an entry without model and adapter, a second base with
    `engine.url`. Raises ModelError: a model or adapter that is not there, an adapter of another base, rank or template.
    """
    base = config.student
    entries: list[tuple[str, str, Path | None]] = [(BASE, base, None)]
    if own.is_dir():
        entries.append((TUNED, str(own), None) if config.train.result == "model" else (TUNED, base, own))
    for index, entry in enumerate(config.evaluate.models):
        if entry.model is None and entry.adapter is None:
            raise ConfigError(
                f"{entry.name!r} names neither a model nor an adapter",
                where=f"evaluate.models[{index}]",
                todo="give one of them; the base itself always takes part",
            )
        adapter = Path(entry.adapter) if entry.adapter else None
        entries.append((entry.name, entry.model or base, adapter))
    _check_names([name for name, _, _ in entries])
    _check_url(config, {model for _, model, _ in entries})
    hashes = {model: model_sha256(model, config.model) for _, model, _ in entries}
    for _, model, adapter in entries:
        if adapter:
            check_adapter_fits(adapter, model, config.model)
    return [_contestant(name, model, hashes[model], adapter) for name, model, adapter in entries]


def checkpoint_adapters(run_dir: Path) -> list[Entry]:
    """`evaluate.models` entries for every complete checkpoint of a run, by step: `<run>-step-200`.

    Raises ModelError where the run has none.
    """
    complete = [path for path in (run_dir / "train" / "checkpoints").glob("step-*") if (path / "COMPLETE").is_file()]
    if not complete:
        raise ModelError(
            "holds no complete checkpoint",
            where=str(run_dir / "train" / "checkpoints"),
            todo="train with a smaller train.save_steps and a larger train.keep",
        )
    by_step = sorted(complete, key=lambda path: int(path.name.removeprefix("step-")))
    return [Entry(name=f"{run_dir.name}-{path.name}", adapter=str(path / "adapter")) for path in by_step]


def training_step(name: str) -> int:
    """The optimizer step in a checkpoint's name; 0 for any other contestant."""
    found = re.fullmatch(r".*-step-(\d+)", name)
    return int(found[1]) if found else 0


def _contestant(name: str, base: str, base_sha256: str, adapter: Path | None) -> Contestant:
    _check_template(adapter or Path(base))
    if adapter is None:
        return Contestant(name, base, base_sha256)
    _check_base(adapter, base, base_sha256)
    return Contestant(name, base, base_sha256, adapter, file_sha256(adapter / "adapter_model.safetensors"))


def _check_names(names: Sequence[str]) -> None:
    reserved = [*names, COPY_INPUT, COPY_DEMONSTRATION]
    for name in names:
        if reserved.count(name) > 1:
            raise ConfigError(
                f"the name {name!r} is taken",
                where="evaluate.models",
                todo=f"choose another; {BASE}, {TUNED}, {COPY_INPUT} and {COPY_DEMONSTRATION} are ours",
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
            todo="leave `engine.url` out, so that each base gets a server of its own in turn",
        )


def _check_base(adapter: Path, base: str, base_sha256: str) -> None:
    """pacos.json says what the adapter was trained on. Adapters from elsewhere have none; those vLLM must judge."""
    trained = read_provenance(adapter)
    if not trained:
        return
    trained_sha256 = trained.get("base_sha256", "")
    known = bool(trained_sha256 and base_sha256)
    same = trained_sha256 == base_sha256 if known else trained.get("base") == base
    if not same:
        raise ModelError(
            f"this adapter was trained on {trained.get('base')}, and would be served with {base}",
            where=str(adapter),
            todo="name its base in `evaluate.models`, or take it out",
        )


def _check_template(folder: Path) -> None:
    """A template's text may change between versions; its name alone does not say that the two agree."""
    trained = read_provenance(folder)
    name = trained.get("template", "")
    known = template(name).sha256 if name in TEMPLATES else None
    if trained and trained.get("template_sha256") != known:
        raise ModelError(
            f"this was trained with a text of the template {name!r} that is not this version's",
            where=str(folder / "pacos.json"),
            todo="evaluate it with the version that trained it, or train it again",
        )


def strange_prompts(entrants: Sequence[Contestant], prompts: Collection[str]) -> list[str]:
    """A line for each contestant that a suite asks in a training template other than its own.

    SuperNI's own encodings are nobody's training template, and so no surprise.
    """
    asked = sorted(set(prompts) & set(TEMPLATES))
    lines = []
    for one in entrants:
        trained = read_provenance(one.adapter or Path(one.base)).get("template")
        lines += [
            f"{one.name} was trained with the template {trained}, and is asked with the prompt {prompt}"
            for prompt in asked
            if trained and prompt != trained
        ]
    return lines
