"""The weights that training starts from: the base, or an adapter (`train.adapter`) checked against the configuration.

The rounds of Self-Rewarding and any second stage of training start from an adapter. With another base, template or
shape than it was trained with it would load in part, or mean something else, without any error.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapters import WEIGHTS, read_adapter_config, weights_sha256
from pacos.chat_templates import template_sha256, training_tokenizer
from pacos.config import Config, TrainConfig
from pacos.errors import ConfigError, ModelError
from pacos.models import ModelRef, resolve_model
from pacos.templates import template
from pacos.weights import read_tensors

if TYPE_CHECKING:
    import torch

# Options of PEFT that change what an adapter's weights mean, and neither their names nor their shapes.
MEANING = ("alpha_pattern", "rank_pattern", "use_dora", "use_qalora", "lora_bias", "layer_replication")


def resolve_start(config: Config) -> ModelRef:
    """The base and the adapter to start from, with their fingerprints.

    Raises ModelError for a base that is not there, and where `train.adapter` is no adapter, or was trained on another
    base or with another template; ConfigError where `train.lora` does not match it.
    """
    if not config.train.adapter:
        return resolve_model(config.student, config.model)
    folder = Path(config.train.adapter)
    found = resolve_model(config.student, config.model, folder)
    check_base(folder, found, found.provenance)
    _check_template(folder, found.provenance, config)
    _check_settings(folder, read_adapter_config(folder), config.train)
    # By its weights alone: the rest of it is in `train.lora`.
    return replace(found, adapter_sha256=weights_sha256(folder))


def check_base(adapter: Path, base: ModelRef, provenance: Mapping[str, Any]) -> None:
    """Raises ModelError where the base is not the one that the adapter was trained on."""
    trained_on = provenance.get("base_sha256", "")
    if trained_on and base.sha256 and trained_on != base.sha256:
        raise ModelError(
            f"was trained on other weights than {base.base} has now",
            where=str(adapter),
            todo="restore the base that it was trained on, or train again",
        )


def _check_template(folder: Path, provenance: Mapping[str, Any], config: Config) -> None:
    form = template(config.train.template)
    own = template_sha256(form, training_tokenizer(config) if form.is_chat else None)
    if provenance.get("template_sha256", own) != own:
        raise ModelError(
            f"was trained with the template {provenance['template']}",
            where=str(folder),
            todo=f"set train.template={provenance['template']}" + " and its train.chat_template" * form.is_chat,
        )


def _check_settings(folder: Path, settings: dict[str, Any], train: TrainConfig) -> None:
    wanted = {"r": ("r", train.lora.r), "alpha": ("lora_alpha", train.lora.alpha)}
    wanted["rslora"] = ("use_rslora", train.lora.rslora)
    for key, (name, value) in wanted.items():
        if (found := settings.get(name, False)) != value:
            raise ConfigError(
                f"{value} does not match the adapter {folder}", where=f"train.lora.{key}", todo=f"set it to {found}"
            )


def start_weights(train: TrainConfig) -> "dict[str, torch.Tensor]":
    """The weights of `train.adapter` under PEFT's names; none where training starts from the base."""
    return read_tensors(Path(train.adapter) / WEIGHTS) if train.adapter else {}


def load_start(model: Any, train: TrainConfig) -> None:
    """Load the weights of `train.adapter` into a new PeftModel. Raises ConfigError where they do not fit, or would
    mean something else there.
    """
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = start_weights(train)
    if not weights:
        return
    check_meaning(Path(train.adapter or ""), model)
    expected = get_peft_model_state_dict(model, save_embedding_layers=False)
    odd = sorted(expected.keys() ^ weights.keys())
    odd += sorted(name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape)
    if odd:
        raise ConfigError(
            f"these targets are not those of the adapter {train.adapter}: {odd[0]} differs",
            where="train.lora.targets",
            todo="give the targets (and train.lora.extra) that it was trained with",
        )
    set_peft_model_state_dict(model, weights)


def check_meaning(folder: Path, model: Any) -> None:
    """Raises ConfigError where the options of `model` give the weights of the adapter in `folder` another meaning."""
    settings = read_adapter_config(folder)
    [adapter] = model.peft_config.values()
    for name in MEANING:
        # As PEFT has completed it: for mixtures of experts it adds patterns of its own.
        found, value = settings.get(name) or None, getattr(adapter, name, None) or None
        if found != value:
            raise ConfigError(
                f"{value or 'nothing'} does not match the adapter {folder}",
                where=f"train.lora.extra.{name}",
                todo=f"set it to {found}" if found else "leave it out",
            )
