"""Finds, reads and checks models, on disk or on the hub, without loading weights."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.adapter_fit import check_adapter_fits
from pacos.adapters import adapter_rank, adapter_sha256, read_adapter_config
from pacos.config import ModelConfig
from pacos.errors import HubOutOfReach, ModelError
from pacos.files import read_object
from pacos.weights import weight_heads

# Beyond every vocabulary there is; `tokenizers` reserves memory up to the largest id, and ends the process without it.
LARGEST_TOKEN_ID = 1 << 24


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model, or an adapter on it, as it was found on this machine.

    `sha256` is the fingerprint of the base's weights, "" for a hub model that is not downloaded yet; `adapter_sha256`
    that of the whole adapter. `provenance` is what training wrote beside the weights (pacos.json), empty for those
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

    Raises ModelError: a folder that is not there or holds no model, an adapter that is broken or does not fit.
    """
    sha256 = model_sha256(base, settings)
    if adapter is None:
        return ModelRef(base, sha256, provenance=read_provenance(Path(base)))
    architecture = load_model_config(base, settings) if local_folder(base, settings) else None
    check_adapter_fits(adapter, base, architecture, trust_remote_code=settings.trust_remote_code)
    return ModelRef(
        base,
        sha256,
        adapter,
        adapter_sha256=adapter_sha256(adapter),
        rank=adapter_rank(read_adapter_config(adapter)),
        provenance=read_provenance(adapter),
    )


def load_tokenizer(name: str, config: ModelConfig) -> Any:
    """The fast tokenizer of a model folder or hub id. Raises ModelError as `load_model_config` does."""
    from transformers import AutoTokenizer

    check_local(name)
    if folder := local_folder(name, config):
        _check_token_ids(folder / "tokenizer.json")
    try:
        return AutoTokenizer.from_pretrained(name, **loading_options(name, config))
    except BaseException as failure:
        # transformers and tokenizers raise errors of any kind for a broken file; a panic of Rust is no Exception.
        if isinstance(failure, Exception) or type(failure).__name__ == "PanicException":
            raise model_error(name, failure) from failure
        raise


def _check_token_ids(path: Path) -> None:
    try:
        vocabulary = json.loads(path.read_bytes())["model"]["vocab"].values()
        largest = max((id for id in vocabulary if isinstance(id, int)), default=0)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return  # absent, of another form, or for the library to complain of
    if largest > LARGEST_TOKEN_ID:
        raise ModelError(f"has a token of id {largest}", where=str(path), todo="copy the tokenizer again")


def load_model_config(name: str, config: ModelConfig) -> Any:
    """The transformers config of a model folder or hub id.

    Raises ModelError: a folder that is not there or holds no model, a hub id that is unknown, gated or out of reach.
    """
    from transformers import AutoConfig

    check_local(name)
    try:
        return AutoConfig.from_pretrained(name, **loading_options(name, config))
    except Exception as failure:  # transformers and tokenizers raise errors of any kind for a broken file
        raise model_error(name, failure) from failure


def loading_options(name: str, config: ModelConfig) -> dict[str, Any]:
    """What `from_pretrained` needs besides the name. `model.revision` is one of `model.base`; others have their own."""
    revision = config.revision if name == config.base else None
    return {"revision": revision, "trust_remote_code": config.trust_remote_code}


def model_sha256(name: str, config: ModelConfig) -> str:
    """Fingerprint of a model's files: every weight's name, type and shape, and the first 4 KiB of its values.

    Tells another architecture, fine-tune or revision without reading gigabytes. It does not tell models that differ
    only beyond those 4 KiB of every tensor, as where a few rows of the embeddings were edited. "" for a hub model that
    is not downloaded yet; the network is not used. Raises ModelError for files that are not whole.
    """
    check_local(name)
    weights: dict[str, bytes] = {}
    if folder := local_folder(name, config):
        for path in folder.glob("*.safetensors"):
            weights |= weight_heads(path)
    digest = hashlib.sha256()
    for weight in sorted(weights):
        digest.update(weight.encode() + b"\0" + weights[weight])
    return digest.hexdigest() if weights else ""


def local_folder(name: str, config: ModelConfig) -> Path | None:
    """Where a model's files are on this machine; None for a hub model that is not downloaded yet."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(name).expanduser().is_dir():
        return Path(name).expanduser()
    try:
        cached = try_to_load_from_cache(name, "config.json", revision=loading_options(name, config)["revision"])
    except HFValidationError as wrong:
        raise ModelError(f"is neither a folder nor a hub id: {wrong}", where=name, todo="check `model.base`") from None
    return Path(cached).parent if isinstance(cached, str) else None


def check_local(name: str) -> None:
    """Raises ModelError for what looks like a path and holds no model."""
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise ModelError("this folder holds no model: no config.json", where=name)
    elif name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError("no such model folder", where=name, todo="check `model.base`, or name a hub id as owner/model")


def model_error(name: str, failure: BaseException) -> ModelError:
    """The reason a hub model could not be had, in one line, with the way out."""
    text = str(failure).strip() or type(failure).__name__
    if "gated" in text.lower() or "401" in text or "403" in text:
        todo = "accept its terms on the hub, then `hf auth login`, or point `model.base` to a local copy"
        return ModelError(
            "the model is gated or private, and no token with access to it was found", where=name, todo=todo
        )
    if "offline" in text.lower() or "connect" in text.lower() or "resolve" in text.lower():
        todo = "connect, or point `model.base` to a local copy"
        return HubOutOfReach("the model is not in the local cache and the hub is out of reach", where=name, todo=todo)
    return ModelError(f"cannot be loaded: {text.splitlines()[0][:300]}", where=name, todo="check `model.base`")


def read_provenance(folder: Path) -> dict[str, Any]:
    """What training wrote beside the weights, in pacos.json; empty for models and adapters from elsewhere.

    Raises DataError for a file that is not one JSON object.
    """
    path = folder / "pacos.json"
    return read_object(path, todo="copy the folder again") if path.is_file() else {}
