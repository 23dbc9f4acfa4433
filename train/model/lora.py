"""Adds LoRA adapters with PEFT, from `train.lora`."""

import dataclasses
import difflib
from typing import Any

from pacos.config import LoraConfig
from pacos.errors import ConfigError, ModelError


def peft_settings(lora: LoraConfig) -> dict[str, Any]:
    """`train.lora` under PEFT's names.

    Raises ConfigError for an `extra` option that PEFT does not have, or that has a key of its own.
    """
    from peft import LoraConfig as PeftLora

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    named = {
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
        "use_rslora": lora.rslora,
        "task_type": "CAUSAL_LM",
    }
    known = {field.name for field in dataclasses.fields(PeftLora)}
    for option in lora.extra:
        if option in named:
            raise ConfigError(
                f"{option} has a key of its own", where="train.lora.extra", todo="see `pacos config train.lora`"
            )
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see peft.LoraConfig"
            raise ConfigError(f"PEFT has no option {option!r}", where="train.lora.extra", todo=hint)
    return named | lora.extra


def add_lora(base: Any, lora: LoraConfig) -> Any:
    """A PeftModel with new adapters in float32 on `base`.

    Raises ConfigError for options that PEFT refuses, ModelError for target modules that the model does not have.
    """
    from peft import LoraConfig as PeftLora
    from peft import get_peft_model

    try:
        settings = PeftLora(**peft_settings(lora))
    except (TypeError, ValueError) as failure:
        if isinstance(failure, ConfigError):
            raise
        raise ConfigError(f"PEFT refuses it: {failure}", where="train.lora.extra") from failure
    try:
        return get_peft_model(base, settings, autocast_adapter_dtype=True)
    except ValueError as failure:
        raise ModelError(
            f"LoRA does not fit this model: {str(failure).splitlines()[0]}",
            where="train.lora.targets",
            todo="use all-linear, or module names that the model has",
        ) from failure
