"""Adds LoRA adapters with PEFT, from `train.lora`."""

import dataclasses
import difflib
import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pacos.config import LoraConfig
from pacos.errors import ConfigError, ModelError, PacosError
from pacos.train.model.lora_options import check_effective, check_init, check_names, check_patterns

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def peft_settings(lora: LoraConfig) -> dict[str, Any]:
    """`train.lora` under PEFT's names.

    Raises ConfigError for an `extra` option that PEFT does not have, that has a key of its own, or no effect here.
    """
    from peft import LoraConfig as PeftLora

    check_effective(lora.extra)
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
        if option in named and option != "task_type":
            raise ConfigError(
                f"{option} has a key of its own", where="train.lora.extra", todo="see `pacos config train.lora`"
            )
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see peft.LoraConfig"
            raise ConfigError(f"PEFT has no option {option!r}", where="train.lora.extra", todo=hint)
    options = named | lora.extra
    _peft_config(options)
    check_init(options)
    return options


def _peft_config(options: dict[str, Any]) -> Any:
    """PEFT's configuration of these options. Raises ConfigError for what PEFT refuses, or says that it ignores."""
    from peft import LoraConfig as PeftLora

    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            config = PeftLora(**options)
    except (TypeError, ValueError, ImportError, AttributeError) as failure:
        raise ConfigError(f"PEFT refuses it: {failure}", where="train.lora.extra") from failure
    if ignored := [str(warning.message) for warning in said if "ignored" in str(warning.message)]:
        raise ConfigError(f"PEFT: {ignored[0]}", where="train.lora.extra", todo="leave it out")
    return config


def add_lora(base: Any, lora: LoraConfig) -> Any:
    """A PeftModel with new adapters in float32 on `base`.

    all-linear leaves out what cannot be adapted in this architecture, with a line in the log. Raises ConfigError for
    options that PEFT refuses and names that the model does not have, ModelError for modules that take no adapter.
    """
    from peft import get_peft_model
    from peft.tuners.lora.layer import LoraLayer

    options = peft_settings(lora)
    check_names(base, options)
    if lora.targets == "all-linear" and "exclude_modules" not in options and (refused := refused_modules(base)):
        log.info("train: LoRA leaves out %s, which PEFT does not adapt in %s", ", ".join(refused), type(base).__name__)
        options["exclude_modules"] = refused
    try:
        model = get_peft_model(base, _peft_config(options), autocast_adapter_dtype=True)
    except PacosError:
        raise
    except ValueError as failure:
        raise ModelError(
            f"LoRA does not fit this model: {str(failure).splitlines()[0]}",
            where="train.lora.targets",
            todo="use all-linear, or names of linear modules; see also train.lora.extra",
        ) from failure
    except (TypeError, AttributeError, KeyError, NotImplementedError) as failure:
        if not lora.extra:
            raise
        raise ConfigError(
            f"PEFT cannot use it: {type(failure).__name__}: {failure}", where="train.lora.extra"
        ) from failure
    parts = model.get_base_model().named_modules()
    check_patterns([name for name, part in parts if isinstance(part, LoraLayer)], options)
    return model


def refused_modules(base: Any) -> list[str]:
    """Names of linear layers that cannot be adapted in this architecture, sorted.

    PEFT refuses out_proj in Mamba's, because kernels read its weight and know no adapter. PEFT is asked with a layer of
    that name and the base's configuration: a refusal would leave the base adapted in part. Where an architecture has
    linear layers of its own kind, it is run: one that returns more than a product (Llama 4's router) cannot be adapted.
    """
    import torch
    from peft import LoraConfig as PeftLora
    from peft import inject_adapter_in_model

    layers = [(name, part) for name, part in base.named_modules() if isinstance(part, torch.nn.Linear)]
    names = {name.rpartition(".")[2] for name, _ in layers}
    refused = set()
    # The adapters that are made here must not change those that are made from the seed.
    with torch.random.fork_rng(devices=[]):
        for name in names:
            stand_in = torch.nn.Module()
            stand_in.add_module(name, torch.nn.Linear(1, 1))
            stand_in.config = base.config
            try:
                inject_adapter_in_model(PeftLora(r=1, target_modules=[name]), stand_in)
            except ValueError as failure:
                if "incompatible" in str(failure):
                    refused.add(name)
    own_kinds = [(name, part) for name, part in layers if type(part).__module__.startswith("transformers.models.")]
    if own_kinds and base.device.type != "meta":
        refused |= layers_beyond_products(base, own_kinds)
    return sorted(refused)


def layers_beyond_products(base: Any, layers: "Sequence[tuple[str, torch.nn.Module]]") -> set[str]:
    """Names of the layers that return something else than a tensor in a forward of `base`."""
    import torch

    found = set[str]()

    def note(layer: Any, given: Any, output: Any) -> None:
        if not isinstance(output, torch.Tensor):
            found.add(names[layer])

    names = {layer: name.rpartition(".")[2] for name, layer in layers}
    hooks = [layer.register_forward_hook(note) for layer in names]
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            base(input_ids=torch.tensor([[0, 1, 2, 3]], device=base.device))
    except torch.OutOfMemoryError:
        raise
    except Exception:  # What cannot run is refused by check_isolation, with its error.
        return found
    finally:
        for hook in hooks:
            hook.remove()
    return found
