"""Finds, reads and checks models and adapters, on disk or on the hub, without loading weights."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.config import ModelConfig
from pacos.errors import HubOutOfReach, ModelError
from pacos.files import file_sha256


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model, or an adapter on it, as it was found on this machine.

    `sha256` is the fingerprint of the base's weights, "" for a hub model that is not downloaded yet; `adapter_sha256`
    that of the adapter's file. `provenance` is what training wrote beside the weights (pacos.json), empty for those
    from elsewhere.
    """

    base: str
    sha256: str = ""
    adapter: Path | None = None
    adapter_sha256: str = ""
    rank: int = 0
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def template(self) -> str:
        """The training template; "" where none is known."""
        return str(self.provenance.get("template", ""))

    def __str__(self) -> str:
        return f"{self.base} + {self.adapter}" if self.adapter else self.base


def resolve_model(base: str, settings: ModelConfig, adapter: Path | None = None) -> ModelRef:
    """Find a model, and an adapter that fits it, and read what tells them from others; loads no weights.

    Raises ModelError: a folder that is not there or holds no model, an adapter that is broken or of other shapes.
    """
    sha256 = model_sha256(base, settings)
    if adapter is None:
        return ModelRef(base, sha256, provenance=read_provenance(Path(base)))
    check_adapter_fits(adapter, base, settings)
    return ModelRef(
        base,
        sha256,
        adapter,
        adapter_sha256=file_sha256(adapter / "adapter_model.safetensors"),
        rank=adapter_rank(read_adapter_config(adapter)),
        provenance=read_provenance(adapter),
    )


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


def load_tokenizer(name: str, config: ModelConfig) -> Any:
    """The fast tokenizer of a model folder or hub id. Raises ModelError as `load_model_config` does."""
    from transformers import AutoTokenizer

    check_local(name)
    try:
        return AutoTokenizer.from_pretrained(name, **loading_options(name, config))
    except (OSError, ValueError) as failure:
        raise model_error(name, failure) from failure


def load_model_config(name: str, config: ModelConfig) -> Any:
    """The transformers config of a model folder or hub id.

    Raises ModelError: a folder that is not there or holds no model, a hub id that is unknown, gated or out of reach.
    """
    from transformers import AutoConfig

    check_local(name)
    try:
        return AutoConfig.from_pretrained(name, **loading_options(name, config))
    except (OSError, ValueError) as failure:
        raise model_error(name, failure) from failure


def loading_options(name: str, config: ModelConfig) -> dict[str, Any]:
    """What `from_pretrained` needs besides the name. `model.revision` is one of `model.base`; others have their own."""
    revision = config.revision if name == config.base else None
    return {"revision": revision, "trust_remote_code": config.trust_remote_code}


def model_sha256(name: str, config: ModelConfig) -> str:
    """Fingerprint of a model's files: every weight's name, type and shape, and the first 4 KiB of its values.

    Tells another architecture, fine-tune or revision without reading gigabytes; "" for a hub model that is not
    downloaded yet. The network is not used.
    """
    check_local(name)
    weights: dict[str, bytes] = {}
    if folder := _local_files(name, config):
        for path in folder.glob("*.safetensors"):
            weights |= _weight_heads(path)
    digest = hashlib.sha256()
    for weight in sorted(weights):
        digest.update(weight.encode() + b"\0" + weights[weight])
    return digest.hexdigest() if weights else ""


def _local_files(name: str, config: ModelConfig) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    cached = try_to_load_from_cache(name, "config.json", revision=loading_options(name, config)["revision"])
    return Path(cached).parent if isinstance(cached, str) else None


def _weight_heads(path: Path) -> dict[str, bytes]:
    """{name: type, shape and first bytes} of a safetensors file (its header: 8 bytes of length, then JSON)."""
    heads = {}
    with path.open("rb") as content:
        size = int.from_bytes(content.read(8), "little")
        for name, entry in _header(path).items():
            start, end = entry["data_offsets"]
            content.seek(8 + size + start)
            heads[name] = json.dumps([entry["dtype"], entry["shape"]]).encode() + content.read(min(4096, end - start))
    return heads


def check_local(name: str) -> None:
    """Raises ModelError for what looks like a path and holds no model."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError("this folder holds no model: no config.json", where=name)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError("no such model folder", where=name, todo="check `model.base`, or name a hub id as owner/model")


def model_error(name: str, failure: Exception) -> ModelError:
    """The reason a hub model could not be had, in one line, with the way out."""
    text = str(failure)
    if "gated" in text.lower() or "401" in text or "403" in text:
        todo = "accept its terms on the hub, then `hf auth login`, or point `model.base` to a local copy"
        return ModelError(
            "the model is gated or private, and no token with access to it was found", where=name, todo=todo
        )
    if "offline" in text.lower() or "connect" in text.lower() or "resolve" in text.lower():
        todo = "connect, or point `model.base` to a local copy"
        return HubOutOfReach("the model is not in the local cache and the hub is out of reach", where=name, todo=todo)
    return ModelError(f"cannot be loaded: {text.splitlines()[0]}", where=name, todo="check `model.base`")


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


def check_adapter_fits(adapter: Path, base: str, config: ModelConfig) -> None:
    """Raises ModelError where the adapter's matrices are not of the rank that its configuration says, or not of the
    base's shapes. A hub model that is not downloaded yet, and weights in a packed form, are not looked at."""
    settings = read_adapter_config(adapter)
    folder = _local_files(base, config)
    files = sorted(folder.glob("*.safetensors")) if folder else []
    weights = {name: entry for path in files for name, entry in _header(path).items() if entry["dtype"] in _FLOATS}
    path = adapter / "adapter_model.safetensors"
    for name, entry in _header(path).items():
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


_FLOATS = ("F32", "F16", "BF16", "F64")


def _header(path: Path) -> dict[str, Any]:
    """{weight: {dtype, shape, data_offsets}} of a safetensors file. Raises ModelError for a file that is none."""
    try:
        with path.open("rb") as content:
            size = int.from_bytes(content.read(8), "little")
            header = json.loads(content.read(min(size, path.stat().st_size)))
    except (json.JSONDecodeError, UnicodeDecodeError) as broken:
        raise ModelError(f"is not a safetensors file, or cut short: {broken}", where=str(path)) from None
    return {name: entry for name, entry in header.items() if name != "__metadata__"}


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


def read_provenance(folder: Path) -> dict[str, Any]:
    """What training wrote beside the weights, in pacos.json; empty for models and adapters from elsewhere.

    Raises ModelError for a file that is not JSON.
    """
    path = folder / "pacos.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except json.JSONDecodeError as broken:
        raise ModelError(f"not JSON: {broken}", where=str(path)) from None
