"""Checks the options of PEFT in `train.lora`: those that would do nothing here, and names that match nothing.

PEFT passes over both without a word.
"""

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pacos.adapters import wrong_types
from pacos.errors import ConfigError

EXTRA = "train.lora.extra"
BIASES = ("none", "all", "lora_only")
WRITTEN = "pacos writes it into the adapter by itself"

# Options without effect on a training run of pacos: the values that they have anyhow, and why no other may be given.
WITHOUT_EFFECT: dict[str, tuple[tuple[Any, ...], str]] = {
    "peft_type": (("LORA", None), "pacos trains LoRA, and no other method of PEFT"),
    "task_type": (("CAUSAL_LM",), "pacos trains causal language models"),
    "inference_mode": ((False,), "PEFT sets it when it saves; weights in it are not trained"),
    "auto_mapping": ((None,), WRITTEN),
    "peft_version": ((None,), WRITTEN),
    "base_model_name_or_path": ((None,), f"{WRITTEN}: set train.model"),
    "revision": ((None,), f"{WRITTEN}: set model.revision"),
    "megatron_config": ((None,), "pacos trains transformers' models, not Megatron's"),
    "megatron_core": ((None, "megatron.core"), "pacos trains transformers' models, not Megatron's"),
    "arrow_config": ((None,), "it routes between finished adapters, and trains none"),
    "kasa_config": ((None,), "it needs terms in the loss that PEFT leaves to the training loop, and pacos adds none"),
    "monteclora_config": (
        (None,),
        "it needs terms in the loss that PEFT leaves to the training loop, and pacos adds none",
    ),
    "alora_invocation_tokens": (
        (None,),
        "it adapts what follows these tokens in a row, and a packed row has many examples",
    ),
    "ensure_weight_tying": ((False,), "pacos does not save weights that two modules share"),
}
# Beginnings of init_lora_weights whose adapters would not be what was trained, or which do nothing by themselves.
FROM_DATA = "PEFT computes it from data by a call of its own before training, which pacos does not make"
UNSUPPORTED_INITS = {
    "pissa_niter": "its SVD draws at random, so that an adapter is loaded on another base than it was trained on; use "
    "pissa",
    "loftq": "it trains on a base of its own in 4 bits, and the adapter is loaded on the original one",
    "eva": FROM_DATA,
    "corda": FROM_DATA,
    "lora_ga": FROM_DATA,
}


def check_effective(options: Mapping[str, Any]) -> None:
    """Raises ConfigError for an option that would do nothing, or not what its name says, or of a wrong type."""
    for option, (allowed, reason) in WITHOUT_EFFECT.items():
        if option in options and options[option] not in allowed:
            raise ConfigError(f"{option} would not do what it says: {reason}", where=EXTRA, todo="leave it out")
    for option, value, wanted in wrong_types(options):
        raise ConfigError(f"must be of type {wanted}, and is {value!r}", where=f"{EXTRA}.{option}")
    if (bias := options.get("bias")) not in (None, *BIASES):
        raise ConfigError(f"must be one of {', '.join(BIASES)}, and is {bias}", where=f"{EXTRA}.bias")


def check_init(options: Mapping[str, Any]) -> None:
    """Raises ConfigError for an initialisation whose adapter, loaded by PEFT, is not the model that was trained."""
    init = options.get("init_lora_weights")
    for beginning, reason in UNSUPPORTED_INITS.items():
        if isinstance(init, str) and init.lower().startswith(beginning):
            raise ConfigError(f"init_lora_weights={init} is not supported: {reason}", where=EXTRA, todo="leave it out")


def check_names(base: Any, options: Mapping[str, Any]) -> None:
    """Raises ConfigError for names in the options that no module or parameter of the untouched `base` has."""
    modules = [name for name, _ in base.named_modules() if name]
    for option in ("target_modules", "exclude_modules", "modules_to_save", "trainable_token_indices"):
        value = options.get(option)
        if isinstance(value, str) and option == "exclude_modules":
            _check_pattern(option, value, any(_matches(value, name, option) for name in modules))
        elif isinstance(value, (list, tuple, set, dict)):
            names = [name for name in value if isinstance(name, str)]
            _check_known(option, names, modules)
    _check_known("target_parameters", options.get("target_parameters") or [], [n for n, _ in base.named_parameters()])
    tokens = options.get("trainable_token_indices") or []
    rows = base.get_input_embeddings().weight.shape[0]
    for group in tokens.values() if isinstance(tokens, dict) else [tokens]:
        if beyond := [token for token in group if not isinstance(token, int) or not 0 <= token < rows]:
            where = f"{EXTRA}.trainable_token_indices"
            raise ConfigError(f"{beyond[0]} is no id of a token below {rows:,}", where=where)


def check_patterns(adapted: Collection[str], options: Mapping[str, Any]) -> None:
    """Raises ConfigError for patterns and layers in the options that name none of the `adapted` modules."""
    for option in ("rank_pattern", "alpha_pattern"):
        for pattern in options.get(option) or {}:
            _check_pattern(option, pattern, any(_matches(rf"(.*\.)?({pattern})", name, option) for name in adapted))
    layers = options.get("layers_to_transform")
    numbers = {int(number) for name in adapted for number in re.findall(r"(?<=\.)\d+(?=\.)", name)}
    for layer in [layers] if isinstance(layers, int) else layers or []:
        if layer not in numbers:
            raise ConfigError(f"no adapted module lies in layer {layer}", where=f"{EXTRA}.layers_to_transform")


def _check_known(option: str, wanted: Iterable[str], names: Collection[str]) -> None:
    for one in wanted:
        if any(name == one or name.endswith(f".{one}") for name in names):
            continue
        last = {name if option == "target_parameters" else name.rpartition(".")[2] for name in names}
        near = difflib.get_close_matches(one, last.union(names), n=3)
        raise ConfigError(
            f"the model has no {'parameter' if option == 'target_parameters' else 'module'} named {one}",
            where="train.lora.targets" if option == "target_modules" else f"{EXTRA}.{option}",
            todo=f"did you mean {' or '.join(near)}?"
            if near
            else f"it has {', '.join(sorted(last, key=lambda name: (name.isdigit(), name))[:20])}",
        )


def _matches(pattern: str, name: str, option: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as broken:
        raise ConfigError(f"{pattern} is no regular expression: {broken}", where=f"{EXTRA}.{option}") from None


def _check_pattern(option: str, pattern: str, found: bool) -> None:
    if not found:
        raise ConfigError(
            f"{pattern} matches no {'adapted ' if option != 'exclude_modules' else ''}module",
            where=f"{EXTRA}.{option}",
            todo="correct it, or leave it out",
        )
