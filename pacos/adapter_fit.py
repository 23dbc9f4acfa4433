"""Loads adapters into models as PEFT does, and checks from headers alone that an adapter fits its base.

PEFT leaves out weights that find no place in the model, and keeps random or zero ones where the file has none; both are
counted here, and neither is accepted.
"""

import dataclasses
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapters import WEIGHTS, read_adapter_config
from pacos.errors import ModelError
from pacos.weights import header, read_tensors

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")

WAY_OUT = "it was made for another base, or its two files are not of one adapter: copy them again, or name its base"
# As torch reports a weight that finds its place taken by another shape.
MISMATCH = re.compile(r"size mismatch for (\S+): .*?Size\((\[[^]]*\])\).*?Size\((\[[^]]*\])\)")


def load_adapter(model: Any, adapter: Path) -> Any:
    """The model with the adapter, ready to evaluate: a PeftModel whose adapter is in float32.

    Raises ModelError where the adapter cannot be read, or does not fit as `check_adapter_fits`.
    """
    tensors = read_tensors(adapter / WEIGHTS)
    tuned = _with_places(model, adapter, meta=False)
    _fill(tuned, tensors, adapter, meta=False)
    tuned.base_model._cast_adapter_dtype(adapter_name="default", autocast_adapter_dtype=True)
    return tuned.eval()


def check_adapter_fits(adapter: Path, base: str, architecture: Any, *, trust_remote_code: bool = False) -> None:
    """Check an adapter against the transformers config of its base, without loading weights of either.

    `architecture` is None for a hub model that is not downloaded yet; then only the adapter's own files are checked.
    Raises ModelError: a file that is cut short, options that PEFT does not know or refuses for this base, weights that
    have no place in the base or another shape there, places without a weight.
    """
    import torch
    from transformers import AutoModelForCausalLM

    read_adapter_config(adapter)
    shapes = {name: entry["shape"] for name, entry in header(adapter / WEIGHTS).items()}
    if architecture is None:
        return
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(architecture, trust_remote_code=trust_remote_code)
    except Exception as failure:  # An architecture's own code, on a device that it was not written for.
        log.warning("%s: not compared with %s before the weights are loaded: %s", adapter, base, failure)
        return
    tuned = _with_places(model, adapter, meta=True)
    _fill(tuned, {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}, adapter, meta=True)


def _with_places(model: Any, adapter: Path, *, meta: bool) -> Any:
    """A PeftModel that has a place for every weight that the adapter's configuration names."""
    from peft import LoraConfig, PeftConfig, PeftModelForCausalLM

    path = adapter / "adapter_config.json"
    known = {field.name for field in dataclasses.fields(LoraConfig)}
    if unknown := sorted(name for name, value in read_adapter_config(adapter).items() if value and name not in known):
        raise ModelError(
            f"has an option that this PEFT does not know: {', '.join(unknown)}",
            where=str(path),
            todo="it was made with another version of PEFT, or for another method than LoRA",
        )
    try:
        config = PeftConfig.from_pretrained(str(adapter))
        config.inference_mode = True
        if meta:  # An initialisation that looks at the base's weights finds none there.
            config.init_lora_weights = True
        return PeftModelForCausalLM(model, config, low_cpu_mem_usage=meta)
    except Exception as failure:  # PEFT builds layers by the options of the file, and any step may fail.
        reason = (str(failure).strip() or type(failure).__name__).splitlines()[0]
        raise ModelError(f"PEFT cannot apply it to this base: {reason}", where=str(path), todo=WAY_OUT) from failure


def _fill(tuned: Any, tensors: "Mapping[str, torch.Tensor]", adapter: Path, *, meta: bool) -> None:
    """Put every weight in its place. Raises ModelError unless every weight has one, and every place a weight."""
    from peft.utils.save_and_load import set_peft_model_state_dict

    where = str(adapter / WEIGHTS)
    try:
        found: Any = set_peft_model_state_dict(tuned, dict(tensors), low_cpu_mem_usage=meta)
    except KeyError as absent:  # A whole module (modules_to_save) that the file lacks.
        raise ModelError(f"lacks the weights of {absent.args[0]}", where=where, todo=WAY_OUT) from absent
    except RuntimeError as failure:
        if wrong := MISMATCH.findall(str(failure)):
            raise _other_shapes(wrong, where) from failure
        raise ModelError(f"does not fit: {str(failure).splitlines()[0]}", where=where, todo=WAY_OUT) from failure
    [config] = tuned.peft_config.values()
    unexpected = [_plain(name) for name in found.unexpected_keys]
    # The head's trained tokens where they are tied to those of the embeddings: saved once.
    tied = tuple(f"{name}." for name, part in tuned.named_modules() if getattr(part, "tied_adapter", None))
    missing = [name for name in found.missing_keys if not name.startswith(tied)]
    empty = [_plain(name) for name in missing if _is_adapters(name, config.bias)]
    if unexpected or empty:
        parts = [f"{len(tensors) - len(unexpected)} of its {len(tensors)} weights fit the base"]
        parts += [f"{len(unexpected)} have no place there ({_first(unexpected)})"] if unexpected else []
        parts += [f"{len(empty)} places have no weight ({_first(empty)})"] if empty else []
        raise ModelError("; ".join(parts), where=where, todo=WAY_OUT)


def _other_shapes(wrong: list[tuple[str, str, str]], where: str) -> ModelError:
    name, found, expected = wrong[0]
    more = f", and {len(wrong) - 1} more weights differ" if len(wrong) > 1 else ""
    if re.search(r"\.lora_(embedding_)?[AB]\b", name):
        reason = "by adapter_config.json and its base"
    else:
        reason = "in its base, whose vocabulary may have been resized for this adapter"
    return ModelError(f"{_plain(name)} is {found}, and must be {expected} {reason}{more}", where=where, todo=WAY_OUT)


def _is_adapters(name: str, bias: str) -> bool:
    """Whether a parameter that was not loaded is the adapter's; the others are the base's."""
    if any(part in name for part in (".lora_", ".modules_to_save.", ".trainable_tokens_delta")):
        return True
    return bias != "none" and name.endswith(".base_layer.bias" if bias == "lora_only" else ".bias")


def _plain(name: str) -> str:
    """A parameter's name without PEFT's own parts of it."""
    return name.removeprefix("base_model.model.").replace(".default", "")


def _first(names: list[str]) -> str:
    return ", ".join(sorted(names)[:2]) + (", …" if len(names) > 2 else "")
