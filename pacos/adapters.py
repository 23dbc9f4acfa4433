"""Reads LoRA adapters on disk, tells one from another, and knows which of them vLLM serves."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pacos.errors import DataError, ModelError
from pacos.files import file_sha256
from pacos.json_text import parse_json, read_text

WEIGHTS = "adapter_model.safetensors"

# Types of the options that are read here or by PEFT while it loads an adapter.
TYPES: dict[str, tuple[type, ...]] = {
    "lora_alpha": (int, float),
    "target_modules": (str, list),
    "target_parameters": (list,),
    "modules_to_save": (list,),
    "exclude_modules": (str, list),
    "rank_pattern": (dict,),
    "alpha_pattern": (dict,),
    "bias": (str,),
    "use_rslora": (bool,),
    "use_dora": (bool,),
    "lora_bias": (bool,),
    "fan_in_fan_out": (bool,),
    "init_lora_weights": (bool, str),
    "base_model_name_or_path": (str,),
    "revision": (str,),
}
# Options that say nothing about what an adapter computes, and lists whose order means nothing.
NOT_DECISIVE = {
    "base_model_name_or_path",
    "revision",
    "peft_version",
    "inference_mode",
    "auto_mapping",
    "task_type",
    "lora_dropout",
    "runtime_config",
    "megatron_core",
}
SETS = {"target_modules", "exclude_modules", "modules_to_save", "target_parameters", "layers_to_transform"}

# Ranks that vLLM has kernels for (vllm/config/lora.py).
VLLM_LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)

# PEFT's options that vLLM refuses, with the reason; and the named initialisations that leave the base as it is.
VLLM_REFUSES = {
    "use_dora": "use_dora: DoRA rescales whole weights, which vLLM's adapter kernels do not",
    "lora_bias": "lora_bias: vLLM adds no trained bias",
    "modules_to_save": "modules_to_save: vLLM replaces no whole modules, resized vocabularies among them",
    "trainable_token_indices": "trainable_token_indices: vLLM replaces no embeddings",
    "alora_invocation_tokens": "alora_invocation_tokens: vLLM has no activated LoRA",
    "layer_replication": "layer_replication: vLLM serves the base's own layers",
    "use_bdlora": "use_bdlora: vLLM has no block-diagonal LoRA",
    "use_qalora": "use_qalora: vLLM has no QALoRA",
}
VLLM_LORA_INITS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")


def read_adapter_config(adapter: Path) -> dict[str, Any]:
    """`adapter_config.json` of a LoRA adapter in PEFT's form.

    Raises ModelError: no such folder or file, no safetensors weights beside it, an adapter of another kind or for
    another task than text generation, values of wrong types.
    """
    path = adapter / "adapter_config.json"
    if not path.is_file():
        raise ModelError(
            "holds no adapter: no adapter_config.json", where=str(adapter), todo="train one, or correct the path"
        )
    if not (adapter / WEIGHTS).is_file():
        if (adapter / "adapter_model.bin").is_file():
            raise ModelError(
                f"its weights are pickled (adapter_model.bin), and a pickle can run code; only {WEIGHTS} is read",
                where=str(adapter),
                todo="ask its authors for safetensors, or convert it where you trust it",
            )
        raise ModelError(f"the adapter's weights ({WEIGHTS}) are missing", where=str(adapter))
    try:
        config = parse_json(read_text(path, ModelError), str(path))
    except DataError as broken:
        raise ModelError(broken.what, where=broken.where) from None
    if not isinstance(config, dict) or "r" not in config:
        raise ModelError("is not a LoRA adapter's configuration", where=str(path))
    _check_types(config, path)
    for option, wanted in (("peft_type", "LORA"), ("task_type", "CAUSAL_LM")):
        if config.get(option) not in (None, wanted):
            raise ModelError(f"{option} is {config[option]!r}, and only {wanted} is supported", where=str(path))
    return config


def _check_types(config: dict[str, Any], path: Path) -> None:
    if isinstance(config["r"], bool) or not isinstance(config["r"], int) or config["r"] < 1:
        raise ModelError(f"r must be a whole number from 1 on, and is {config['r']!r}", where=str(path))
    for option, value, wanted in wrong_types(config):
        raise ModelError(f"{option} must be of type {wanted}, and is {value!r}", where=str(path))
    for option in ("rank_pattern", "alpha_pattern"):
        for pattern, value in (config.get(option) or {}).items():
            if isinstance(value, bool) or not isinstance(value, int if option == "rank_pattern" else (int, float)):
                raise ModelError(f"{option} must give numbers, and gives {value!r} for {pattern}", where=str(path))


def wrong_types(options: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """Yield (option, value, the types that it may have, in words) of each whose value is of another type."""
    for option, kinds in TYPES.items():
        value = options.get(option)
        if value is not None and (not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)):
            yield option, value, " or ".join(kind.__name__ for kind in kinds)


def adapter_sha256(adapter: Path) -> str:
    """Identity of a whole adapter: its weights, and the configuration that decides what they compute.

    Where the base lies, which version of PEFT wrote it, and the order of modules make no difference. Raises ModelError
    as `read_adapter_config`.
    """
    config = read_adapter_config(adapter)
    deciding = {
        name: sorted(value, key=str) if name in SETS and isinstance(value, list) else value
        for name, value in config.items()
        if name not in NOT_DECISIVE and value not in (None, False, "none", [], {})
    }
    text = weights_sha256(adapter) + json.dumps(deciding, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def weights_sha256(adapter: Path) -> str:
    """Hash of an adapter's weights alone, which is what earlier versions recorded of it."""
    return file_sha256(adapter / WEIGHTS)


def serving_problems(adapter: Mapping[str, Any]) -> list[str]:
    """Why vLLM 0.32 would refuse an adapter of these PEFT settings (vllm/lora/peft_helper.py); [] if it serves it."""
    problems = [reason for option, reason in VLLM_REFUSES.items() if adapter.get(option)]
    if adapter.get("bias", "none") != "none":
        problems.append(f"bias={adapter['bias']}: vLLM adds no trained bias")
    init = adapter.get("init_lora_weights", True)
    if isinstance(init, str) and init.lower() not in VLLM_LORA_INITS:
        problems.append(f"init_lora_weights={init}: it moves the base's own weights, and vLLM serves the base unmoved")
    if (rank := adapter_rank(adapter)) > max(VLLM_LORA_RANKS):
        problems.append(f"rank {rank} is above vLLM's highest, {max(VLLM_LORA_RANKS)}")
    return problems


def adapter_rank(adapter: Mapping[str, Any]) -> int:
    """The highest rank among the modules of an adapter of these PEFT settings."""
    highest: int = max(adapter["r"], *(adapter.get("rank_pattern") or {}).values(), 1)
    return highest


def served_lora_rank(adapters: list[Path]) -> int:
    """The smallest rank vLLM can be started with that serves all the adapters.

    Raises ModelError for an adapter that vLLM refuses, with the reason.
    """
    highest = 1
    for adapter in adapters:
        config = read_adapter_config(adapter)
        if problems := serving_problems(config):
            raise ModelError(
                f"vLLM refuses it: {'; '.join(problems)}", where=str(adapter), todo="merge it into its base"
            )
        highest = max(highest, adapter_rank(config))
    return next(rank for rank in VLLM_LORA_RANKS if rank >= highest)
