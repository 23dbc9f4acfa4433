"""Loads the model to train: base and adapters by the method, fused layers, compilation, checkpointing."""

from typing import TYPE_CHECKING, Any

from pacos.causal_lm import load_causal_lm
from pacos.config import Config, TrainConfig
from pacos.errors import ModelError, PacosError, TrainingError
from pacos.models import load_model_config
from pacos.train.distributed import has_gpu
from pacos.train.interfaces import method_of
from pacos.train.model.fsdp import fsdp_enabled
from pacos.train.model.precision import computing_dtype
from pacos.train.model.start import load_start

if TYPE_CHECKING:
    import torch


class MetaDeviceError(TrainingError):
    """A model that cannot be built or run without storage, as estimating its memory takes."""


def load_model(
    config: Config, device: "torch.device | str", attention: str | None = None, *, checkpointing: bool = False
) -> Any:
    """A model ready to train, with transformers' own choice of attention unless given another's name.

    A PeftModel, its frozen base in `computing_dtype` and its adapters in float32. For full tuning, transformers' own
    model: weights in float32, because bfloat16 would round small updates away, computed in `computing_dtype`.
    The vocabulary is never resized: an adapter for a resized base loads nowhere else.
    Raises ModelError as `load_causal_lm` does, and for LoRA targets that the model does not have;
    TrainingError as `configure_computation` does.
    """
    import torch

    method, dtype = method_of(config.train), computing_dtype(config)
    options = method.loading_options(dtype) | {"attn_implementation": attention}
    base = load_causal_lm(config.student, config.model, device=device, **options)
    torch.manual_seed(config.seed)
    model = method.prepare(base, config.train, dtype, device)
    load_start(model, config.train)
    return configure_computation(model, config.train, checkpointing=checkpointing)


def configure_computation(model: Any, train: TrainConfig, *, checkpointing: bool = False) -> Any:
    """Fuse LoRA layers, compile modules and enable checkpointing as configured; returns the model in training mode.

    Raises TrainingError where fused layers do not compute what PEFT's do.
    """
    from pacos.train.model.compilation import check_compiled, compile_pointwise
    from pacos.train.model.fused_lora import check_fused, fuse_lora

    if train.fused_lora and not method_of(train).trains_base:
        fuse_lora(model)
        check_fused(model)
    if should_compile(train):
        compile_pointwise(model)
        check_compiled(model)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def should_compile(train: TrainConfig) -> bool:
    """`train.compile`; "auto" compiles on GPUs without FSDP."""
    return has_gpu() and not fsdp_enabled() if train.compile == "auto" else train.compile


def meta_model(config: Config) -> Any:
    """The model as it will be trained, without storage.

    Raises ModelError for what is no causal language model, MetaDeviceError for a model that takes storage to be built.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from pacos.train.model.fused_lora import fuse_lora

    architecture, method = load_model_config(config.student, config.model), method_of(config.train)
    dtype = computing_dtype(config)
    options = {"dtype": dtype, "trust_remote_code": config.model.trust_remote_code}
    try:
        with torch.device("meta"):
            base = AutoModelForCausalLM.from_config(architecture, **options)
            model = method.prepare(base, config.train, dtype, "meta").train()
    except PacosError:
        raise
    except ValueError as failure:
        raise ModelError(f"is not a causal language model: {failure}", where=config.student) from failure
    except Exception as failure:  # An architecture's own code, on a device that it was not written for.
        raise MetaDeviceError(f"cannot be built without storage: {failure}", where=config.student) from failure
    if config.train.fused_lora and not method.trains_base:
        fuse_lora(model)
    return model
