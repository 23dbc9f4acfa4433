"""Loads causal language models, and refuses those of which loading would make something up or leave something out.

transformers draws at random the weights that a checkpoint lacks, passes over those that the model has no place for, and
says so in a warning. Here the number of both is zero, apart from tied weights and what an architecture itself declares
(`_keys_to_ignore_on_load_missing` and `…_unexpected`).
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pacos.config import ModelConfig
from pacos.errors import ModelError
from pacos.models import check_local, load_model_config, loading_options, local_folder, model_error
from pacos.weights import header, weight_files, whole_files


def load_causal_lm(name: str, config: ModelConfig, *, device: Any, dtype: Any = "auto", **options: Any) -> Any:
    """The model of a folder or hub id with all its weights, in evaluation mode; `options` are from_pretrained's.

    Raises ModelError: not there, not whole, quantised, or with weights that are missing, left over or of other shapes.
    """
    from transformers import AutoModelForCausalLM

    _check_files(name, config)
    options |= loading_options(name, config) | {"dtype": dtype, "device_map": {"": device}, "use_safetensors": True}
    return _load(name, lambda given: AutoModelForCausalLM.from_pretrained(name, **given), options)


def check_causal_lm(name: str, config: ModelConfig) -> None:
    """Raises ModelError as `load_causal_lm` does, from the headers of the files alone: the same loading, of no values.

    A hub model that is not on this machine yet, and one whose code needs storage to be built, are not looked at.
    """
    import torch
    from transformers import AutoModelForCausalLM

    settings, entries = _check_files(name, config)
    if entries is None:
        return
    trust = {"trust_remote_code": config.trust_remote_code}
    try:
        with torch.device("meta"):
            kind = type(AutoModelForCausalLM.from_config(settings, **trust))
    except Exception:  # An architecture's own code; loading will show what it raises on a device.
        return
    weights = {
        weight: torch.empty(entry["shape"], dtype=_dtype(entry["dtype"]), device="meta")
        for weight, entry in entries.items()
    }
    # As the AutoModel does for a model that is a part of another.
    if getattr(kind, "config_class", None) is not type(settings):
        settings = settings.get_text_config()
    options = {"config": settings, "state_dict": weights, "device_map": {"": "meta"}, "dtype": torch.float32}
    with _without_bar():
        _load(name, lambda given: kind.from_pretrained(None, **given), options)


def check_vocabulary(rows: int, tokenizer: Any, where: str) -> None:
    """Raises ModelError for a tokenizer with ids beyond a model's `rows` of embeddings."""
    ids = max(len(tokenizer), 1 + max(tokenizer.get_vocab().values(), default=0))
    if ids > rows:
        raise ModelError(
            f"the tokenizer has {ids:,} ids and the model {rows:,} embeddings",
            where=where,
            todo="use the tokenizer that the model was trained with",
        )


def _check_files(name: str, config: ModelConfig) -> tuple[Any, dict[str, Any] | None]:
    """The model's configuration, and the headers' entries of its weight files, each of which is whole.

    The entries are None for a hub model that is not on this machine yet.
    """
    check_local(name)
    settings = load_model_config(name, config)
    parts = (settings, settings.get_text_config())
    found = next((value for part in parts if (value := getattr(part, "quantization_config", None))), None)
    if found is not None:
        method = found.get("quant_method") if isinstance(found, Mapping) else getattr(found, "quant_method", "")
        raise ModelError(
            f"its weights are quantised (quantization_config: {method or 'of an unnamed method'}): they cannot be "
            "tuned, merged or compared as they are",
            where=name,
            todo="name the unquantised model; train.method=qlora holds that in 4 bits by itself",
        )
    folder = local_folder(name, config)
    if not folder:
        return settings, None
    if (folder / "adapter_config.json").is_file():
        raise ModelError(
            "holds a model and an adapter, which transformers would add without a word",
            where=name,
            todo="move adapter_config.json and adapter_model.safetensors to a folder of their own",
        )
    if not Path(name).expanduser().is_dir() and not any(folder.glob("*.safetensors*")):
        return settings, None  # Of the hub's files, only the configuration is here.
    entries: dict[str, Any] = {}
    for path in weight_files(folder):
        entries |= header(path)
    return settings, entries


def _load(name: str, read: Callable[[dict[str, Any]], Any], options: dict[str, Any]) -> Any:
    """What `read` loads with these options. Raises ModelError unless every weight is in its place."""
    import torch

    counted = {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with whole_files(name), _without_report():
            model, report = read(options | counted)
    except (OSError, ValueError) as failure:
        if isinstance(failure, ModelError):
            raise
        raise model_error(name, failure) from failure
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as failure:  # The code of an architecture can raise anything, and asks for packages of its own.
        raise ModelError(f"cannot be loaded: {type(failure).__name__}: {failure}", where=name) from failure
    # Old checkpoints hold masks and angles that are computed today.
    buffers = {buffer for buffer, _ in model.named_buffers()}
    _check_report(name, report, {key for key in report["unexpected_keys"] if key not in buffers})
    return model


def _check_report(name: str, report: Mapping[str, Any], unexpected: set[str]) -> None:
    wrong_shapes = sorted(
        f"{key} is {list(found)} and should be {list(wanted)}" for key, found, wanted in report["mismatched_keys"]
    )
    problems = [
        _first(report["missing_keys"], "missing, and would be drawn at random"),
        _first(unexpected, "left over, for which the model of its config.json has no place"),
        _first(wrong_shapes, "of another shape"),
    ]
    if not any(problems):
        return
    todo = "copy the whole model again, config.json and weights of one version"
    if not problems[0] and not wrong_shapes:
        todo += "; to drop a part on purpose (a value head, say), load it with transformers and save_pretrained() it"
    what = f"its weights are not those of its config.json: {'; '.join(filter(None, problems))}"
    raise ModelError(what, where=name, todo=todo)


def _first(names: Any, what: str) -> str:
    shown = sorted(names)[:3]
    return f"{len(names)} {what} ({', '.join(shown)}{', …' if len(names) > len(shown) else ''})" if names else ""


@contextlib.contextmanager
def _without_report() -> Iterator[None]:
    """Without transformers' own warning of what `_check_report` counts."""

    def is_other(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    log = logging.getLogger("transformers.modeling_utils")
    log.addFilter(is_other)
    try:
        yield
    finally:
        log.removeFilter(is_other)


@contextlib.contextmanager
def _without_bar() -> Iterator[None]:
    from transformers.utils import logging as bars

    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _dtype(name: str) -> Any:
    """torch's dtype of safetensors' name; float32 for one that only shapes are asked of."""
    import torch

    known = {"BF16": torch.bfloat16, "F16": torch.float16, "F64": torch.float64, "BOOL": torch.bool, "U8": torch.uint8}
    return known.get(name, torch.float32)
