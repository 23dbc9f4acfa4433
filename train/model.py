"""The model to train: the base as it lies on disk with LoRA adapters in float32 on top, or all of it in float32."""

import dataclasses
import difflib
import logging
from typing import TYPE_CHECKING, Any

from pacos.config import Config, LoraConfig
from pacos.cpu_engine import has_amx
from pacos.errors import ConfigError, ModelError
from pacos.models import check_local, load_model_config, loading_options, model_error
from pacos.train.sharding import sharding_asked
from pacos.train.start import load_start
from pacos.train.world import has_gpu

if TYPE_CHECKING:
    import torch

log = logging.getLogger("pacos")


def base_name(config: Config) -> str:
    return config.train.model or config.model.base


def load_model(config: Config, device: "torch.device | str", attention: str = "sdpa") -> Any:
    """A model ready to train; for `attention` see attention_for.

    A PeftModel, its frozen base in `computing_dtype` and its adapters in float32. For a full tuning, transformers' own
    model: weights in float32, because bfloat16 would round small updates away, computed in `computing_dtype`.
    The vocabulary is never resized: an adapter for a resized base loads nowhere else.
    Raises ModelError as `pacos.models.load_model_config` does, and for LoRA targets the model has not; TrainingError
    where fused layers do not compute what PEFT's do, or compiled modules what their own code does.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from pacos.train.four_bits import four_bits, plain_parameters

    name = base_name(config)
    check_local(name)
    dtype, method = computing_dtype(config), config.train.method
    quantised = {"quantization_config": four_bits(dtype)} if method == "qlora" else {}
    try:
        base = AutoModelForCausalLM.from_pretrained(
            name,
            dtype=torch.float32 if method == "full" else dtype,
            attn_implementation=attention,
            device_map={"": device},
            use_safetensors=True,
            **quantised,
            **loading_options(name, config.model),
        )
    except (OSError, ValueError) as failure:
        raise model_error(name, failure) from failure
    torch.manual_seed(config.seed)
    model = computed_in(dtype, base, device) if method == "full" else add_lora(base, config.train.lora)
    if method == "qlora":
        plain_parameters(model)
    load_start(model, config)
    return computed_as_asked(model, config)


def computed_as_asked(model: Any, config: Config) -> Any:
    """With fused layers, compiled modules and checkpointing as the configuration has them, each checked; in training
    mode. Raises TrainingError: see load_model."""
    from pacos.train.compiled import check_compiled, compile_pointwise, compiles
    from pacos.train.fused_lora import check_fused, fuse_lora

    if config.train.fused_lora and config.train.method != "full":
        fuse_lora(model)
        check_fused(model)
    if compiles(config):
        compile_pointwise(model)
        check_compiled(model)
    if config.train.checkpointing is True:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def computed_in(dtype: "torch.dtype", model: Any, device: "torch.device | str") -> Any:
    """A model whose float32 weights are cast for each product. Sharded, `shard` casts them as it fetches them."""
    import torch

    if dtype != torch.float32 and not sharding_asked():
        model.forward = torch.autocast(torch.device(device).type, dtype=dtype)(model.forward)
    return model


def meta_model(config: Config) -> Any:
    """The model as it will be trained, without storage. Raises ModelError for what is no causal language model."""
    import torch
    from transformers import AutoModelForCausalLM

    architecture = load_model_config(base_name(config), config.model)
    if getattr(architecture.get_text_config(), "attn_logit_softcapping", None) and config.train.attention == "sdpa":
        raise ModelError(
            "caps its attention's logits, which sdpa leaves out without a word: it would be tuned as another model",
            where=base_name(config),
            todo="set train.attention=flex_attention, on a GPU",
        )
    options = {"dtype": computing_dtype(config), "trust_remote_code": config.model.trust_remote_code}
    try:
        with torch.device("meta"):
            base = AutoModelForCausalLM.from_config(architecture, **options)
            if config.train.method == "full":
                return base.train()
            model = add_lora(base, config.train.lora).train()
    except ValueError as failure:
        if isinstance(failure, ModelError):
            raise
        raise ModelError(f"is not a causal language model: {failure}", where=base_name(config)) from failure
    if config.train.fused_lora:
        from pacos.train.fused_lora import fuse_lora

        fuse_lora(model)
    return model


def causal_model(model: Any) -> Any:
    """transformers' model inside what PEFT, DDP or FSDP made of it."""
    inner = getattr(model, "module", model)
    return inner.get_base_model() if hasattr(inner, "get_base_model") else inner


def training_dtype(config: Config) -> "torch.dtype":
    """`model.dtype`, or the checkpoint's. A float16 base trains in bfloat16: without loss scaling, float16
    activations' gradients underflow to zero."""
    import torch

    wanted = config.model.dtype
    if wanted == "auto":
        dtype = load_model_config(base_name(config), config.model).dtype or torch.float32
    else:
        dtype = getattr(torch, wanted)
    if dtype == torch.float16:
        log.warning("the float16 base is trained in bfloat16: float16 gradients would underflow")
        return torch.bfloat16
    return dtype  # type: ignore[no-any-return]


def computing_dtype(config: Config) -> "torch.dtype":
    """`training_dtype`; on a CPU without AMX, float32 in place of bfloat16.

    bfloat16 trains at two thirds of float32's speed there with AVX-512, and ten to a hundred times more slowly without.
    The weights keep their values, and a full tuning is saved in bfloat16 all the same.
    """
    import torch

    dtype = training_dtype(config)
    if dtype != torch.bfloat16 or has_gpu() or sharding_asked() or has_amx():
        return dtype
    return torch.float32


def precision(config: Config) -> str:
    """`computing_dtype`, in words."""
    asked, computed = (str(dtype(config)).removeprefix("torch.") for dtype in (training_dtype, computing_dtype))
    return computed if asked == computed else f"{computed} (this CPU is slower in {asked})"


def peft_settings(lora: LoraConfig) -> dict[str, Any]:
    """`train.lora` by PEFT's names. Raises ConfigError for an option in `extra` that PEFT has not, or that is ours."""
    from peft import LoraConfig as PeftLora

    targets = lora.targets if isinstance(lora.targets, str) else list(lora.targets)
    ours = {
        "r": lora.r,
        "lora_alpha": lora.alpha,
        "lora_dropout": lora.dropout,
        "target_modules": targets,
        "use_rslora": lora.rslora,
        "task_type": "CAUSAL_LM",
    }
    known = {field.name for field in dataclasses.fields(PeftLora)}
    for option in lora.extra:
        if option in ours:
            raise ConfigError(
                f"{option} has a key of its own", where="train.lora.extra", todo="see LoraConfig in config.py"
            )
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "see peft.LoraConfig"
            raise ConfigError(f"PEFT has no option {option!r}", where="train.lora.extra", todo=hint)
    return ours | lora.extra


def add_lora(base: Any, lora: LoraConfig) -> Any:
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


def trainable_parameters(model: Any) -> dict[str, "torch.nn.Parameter"]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def flops_per_token(model: Any) -> int:
    """Matrix-product FLOPs to train one token: forward 2N, activation gradients 2N, and 2N where weights are trained.

    N counts the weights of linear layers; looking up an embedding multiplies nothing. Recomputed activations
    are no progress and are not counted.
    """
    import torch

    linear = {
        # A 4-bit weight has half as many elements as it multiplies by.
        id(module.weight): module.in_features * module.out_features
        for module in model.modules()
        if isinstance(module, torch.nn.Linear)
    }
    adapted = hasattr(getattr(model, "module", model), "peft_config")
    return (4 if adapted else 6) * sum(linear.values())
