"""The model to train: the base as it lies on disk with LoRA adapters in float32 on top, or all of it in float32."""

from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import ModelError
from pacos.models import check_local, load_model_config, loading_options, model_error
from pacos.train.model.compilation import check_compiled, compile_pointwise, compiles
from pacos.train.model.fused_lora import check_fused, fuse_lora
from pacos.train.model.lora import add_lora
from pacos.train.model.precision import computed_in, computing_dtype
from pacos.train.model.quantization import four_bits, plain_parameters
from pacos.train.model.start import load_start

if TYPE_CHECKING:
    import torch


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

    name = config.student
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
    from pacos.train.model.fused_lora import fuse_lora

    if config.train.fused_lora and config.train.method != "full":
        fuse_lora(model)
        check_fused(model)
    if compiles(config):
        compile_pointwise(model)
        check_compiled(model)
    if config.train.checkpointing is True:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return model.train()


def meta_model(config: Config) -> Any:
    """The model as it will be trained, without storage. Raises ModelError for what is no causal language model."""
    import torch
    from transformers import AutoModelForCausalLM

    architecture = load_model_config(config.student, config.model)
    if getattr(architecture.get_text_config(), "attn_logit_softcapping", None) and config.train.attention == "sdpa":
        raise ModelError(
            "caps its attention's logits, which sdpa leaves out without a word: it would be tuned as another model",
            where=config.student,
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
        raise ModelError(f"is not a causal language model: {failure}", where=config.student) from failure
    if config.train.fused_lora:
        fuse_lora(model)
    return model
