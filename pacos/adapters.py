"""Reads and checks LoRA adapters, on disk and without loading weights, and knows which of them vLLM serves."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pacos.errors import ModelError
from pacos.weights import FLOATS, header

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
    """`adapter_config.json` of a PEFT adapter. Raises ModelError where there is none, or no weights beside it."""
    path = adapter / "adapter_config.json"
    if not path.is_file():
        raise ModelError(
            "holds no adapter: no adapter_config.json", where=str(adapter), todo="train one, or correct the path"
        )
    if not (adapter / "adapter_model.safetensors").is_file():
        raise ModelError("the adapter's weights (adapter_model.safetensors) are missing", where=str(adapter))
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as broken:
        raise ModelError(f"not JSON: {broken}", where=str(path)) from None
    if not isinstance(config, dict) or not isinstance(config.get("r"), int):
        raise ModelError("is not a LoRA adapter's configuration", where=str(path))
    return config


def check_adapter_fits(adapter: Path, base: str, folder: Path | None) -> None:
    """Raises ModelError where the adapter's matrices are not of the rank that its configuration says, or not of the
    shapes of the base in `folder`. A hub model that is not downloaded yet (None), and weights in a packed form, are
    not looked at."""
    settings = read_adapter_config(adapter)
    files = sorted(folder.glob("*.safetensors")) if folder else []
    weights = {name: entry for path in files for name, entry in header(path).items() if entry["dtype"] in FLOATS}
    path = adapter / "adapter_model.safetensors"
    for name, entry in header(path).items():
        found = re.fullmatch(r"(?:base_model\.model\.)?(.+)\.lora_([AB])\.weight", name)
        if not found:
            continue
        rank, width = entry["shape"] if found[2] == "A" else entry["shape"][::-1]
        if rank > adapter_rank(settings) or (rank != settings["r"] and not settings.get("rank_pattern")):
            raise ModelError(
                f"{name} has rank {rank}, and adapter_config.json says {settings['r']}",
                where=str(path),
                todo="its two files are not of one adapter: copy them again",
            )
        weight = weights.get(f"{found[1]}.weight")
        if weight and width not in weight["shape"]:
            raise ModelError(
                f"{name} is {width} wide, and the base's {found[1]} is {weight['shape']}: an adapter of another base",
                where=str(path),
                todo=f"name its base in `evaluate.models`; here it would be served with {base}",
            )


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
