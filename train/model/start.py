"""Going on from a trained adapter (`train.adapter`): checked against base, template and `train.lora`, then loaded.

The rounds of Self-Rewarding and any second stage of training start here: another base, template or shape than the
adapter was made for would load in part, or mean something else, without a word.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config, ModelConfig
from pacos.errors import ConfigError, ModelError
from pacos.models import read_adapter_config, read_provenance
from pacos.runs import file_sha256
from pacos.templates import template
from pacos.train.export.merge import check_base

if TYPE_CHECKING:
    import torch

WEIGHTS = "adapter_model.safetensors"


def check_start(config: Config) -> None:
    """Raises ModelError where `train.adapter` is no adapter, or of another base or template, and ConfigError where
    `train.lora` is not its own."""
    if not config.train.adapter:
        return
    folder, train = Path(config.train.adapter), config.train
    settings, provenance = read_adapter_config(folder), read_provenance(folder)
    base = ModelConfig(**config.model.model_dump() | {"base": train.model or config.model.base})
    check_base(folder, base, provenance)
    if provenance.get("template_sha256", template(train.template).sha256) != template(train.template).sha256:
        raise ModelError(
            f"was trained with the template {provenance['template']}",
            where=str(folder),
            todo=f"set train.template={provenance['template']}",
        )
    wanted = {"r": train.lora.r, "lora_alpha": train.lora.alpha, "use_rslora": train.lora.rslora}
    for (name, value), key in zip(wanted.items(), ("r", "alpha", "rslora"), strict=True):
        if (own := settings.get(name, False)) != value:
            raise ConfigError(
                f"{value} is not what the adapter {folder} has", where=f"train.lora.{key}", todo=f"set it to {own}"
            )


def start_sha256(config: Config) -> str:
    """Of the weights to go on from; "" where training starts at the base."""
    return file_sha256(Path(config.train.adapter) / WEIGHTS) if config.train.adapter else ""


def start_weights(config: Config) -> "dict[str, torch.Tensor]":
    """The weights to go on from, under PEFT's names; none where training starts at the base."""
    from safetensors.torch import load_file

    return load_file(Path(config.train.adapter) / WEIGHTS) if config.train.adapter else {}


def load_start(model: Any, config: Config) -> None:
    """Put the weights of `train.adapter` into a PeftModel just made. Raises ConfigError where they do not fit."""
    from peft import get_peft_model_state_dict, set_peft_model_state_dict

    weights = start_weights(config)
    if not weights:
        return
    made = get_peft_model_state_dict(model, save_embedding_layers=False)
    odd = sorted(made.keys() ^ weights.keys())
    odd += sorted(name for name in made.keys() & weights.keys() if made[name].shape != weights[name].shape)
    if odd:
        raise ConfigError(
            f"these targets are not those of the adapter {config.train.adapter}: {odd[0]} differs",
            where="train.lora.targets",
            todo="give the targets (and train.lora.extra) that it was trained with",
        )
    set_peft_model_state_dict(model, weights)
