"""The methods of training: LoRA, QLoRA, and tuning every weight."""

import functools
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.adapters import VLLM_LORA_RANKS, adapter_rank, serving_problems
from pacos.config import Config, TrainConfig
from pacos.train.export.adapter import check_trained, write_adapter
from pacos.train.export.full_model import write_model
from pacos.train.interfaces import Method
from pacos.train.model.idle import blameless_adapters
from pacos.train.model.lora import add_lora, peft_settings
from pacos.train.model.precision import autocast_forward, training_dtype
from pacos.train.model.start import start_weights
from pacos.train.model.untouched import untouched_warning

if TYPE_CHECKING:
    import torch


class LoraMethod(Method):
    """LoRA adapters on a frozen base, in 4 bits for QLoRA."""

    result = "adapter"
    trains_base = False
    library, tags, kind = "peft", ("lora",), "LoRA adapter for"

    def __init__(self, *, four_bit: bool, lighter: str) -> None:
        self.four_bit, self.lighter = four_bit, lighter
        self.prefix = "Q" if four_bit else ""

    def check(self, train: TrainConfig) -> None:
        pass

    def dropout(self, train: TrainConfig) -> float:
        return train.lora.dropout

    def summary(self, train: TrainConfig) -> str:
        lora = train.lora
        return f"{self.prefix}LoRA r={lora.r} alpha={lora.alpha} on {lora.targets}"

    def description(self, train: TrainConfig) -> str:
        lora = train.lora
        name = self.prefix + ("rsLoRA" if lora.rslora else "LoRA")
        options = [f"{option} {value}" for option, value in lora.extra.items()]
        return ", ".join([name, f"rank {lora.r}", f"alpha {lora.alpha}", f"dropout {lora.dropout}", *options])

    def warnings(self, train: TrainConfig) -> list[str]:
        settings = peft_settings(train.lora)
        problems = serving_problems(settings)
        found = [f"vLLM will refuse this adapter ({reason}); pacos merge can serve it" for reason in problems]
        rank = adapter_rank(settings)
        if rank not in VLLM_LORA_RANKS and rank < max(VLLM_LORA_RANKS):
            served = next(served for served in VLLM_LORA_RANKS if served > rank)
            found.append(f"vLLM has no rank {rank} and serves it as {served}, at {served}'s cost")
        return found

    def untouched(self, model: Any, train: TrainConfig) -> str:
        return untouched_warning(model) if train.lora.targets == "all-linear" else ""

    def loading_options(self, dtype: "torch.dtype") -> dict[str, Any]:
        from pacos.train.model.quantization import nf4_config

        return {"dtype": dtype} | ({"quantization_config": nf4_config(dtype)} if self.four_bit else {})

    def prepare(self, base: Any, train: TrainConfig, dtype: "torch.dtype", device: "torch.device | str") -> Any:
        from pacos.train.model.quantization import plain_parameters

        model = add_lora(base, train.lora)
        if self.four_bit and device != "meta":
            plain_parameters(model)
        return model

    def export(self, model: Any, weights: "dict[str, torch.Tensor]", config: Config, folder: Path) -> None:
        adapter = write_adapter(model, weights, config.student, folder)
        blameless = functools.partial(blameless_adapters, model)
        check_trained(adapter, start_weights(config.train), where=str(folder), blameless=blameless)

    def serve_command(self, config: Config, folder: Path) -> str:
        settings = peft_settings(config.train.lora)
        if serving_problems(settings):
            return f"{shlex.join(['pacos', 'merge', str(folder), '--out', 'DIR'])} && vllm serve DIR"
        rank = next(rank for rank in VLLM_LORA_RANKS if rank >= adapter_rank(settings))
        words = ["vllm", "serve", config.student, "--enable-lora", "--max-lora-rank", str(rank)]
        template = folder / "chat_template.jinja"  # vLLM takes the base's for adapters, if it has one
        words += ["--chat-template", str(template)] if template.is_file() else []
        return shlex.join([*words, "--lora-modules", f"{config.name}={folder}"])


class FullMethod(Method):
    """Every weight of the base, held in float32."""

    result = "model"
    trains_base, four_bit, lighter = True, False, "lora"
    library, tags, kind = "transformers", (), "Full fine-tune of"

    def check(self, train: TrainConfig) -> None:
        if train.adapter:
            raise ValueError("full tuning takes no adapter: `pacos merge` it, and name the merged model")

    def dropout(self, train: TrainConfig) -> float:
        return 0.0

    def summary(self, train: TrainConfig) -> str:
        return "every weight"

    def description(self, train: TrainConfig) -> str:
        return "every weight tuned, AdamW in float32"

    def warnings(self, train: TrainConfig) -> list[str]:
        return []

    def untouched(self, model: Any, train: TrainConfig) -> str:
        return ""

    def loading_options(self, dtype: "torch.dtype") -> dict[str, Any]:
        import torch

        return {"dtype": torch.float32}

    def prepare(self, base: Any, train: TrainConfig, dtype: "torch.dtype", device: "torch.device | str") -> Any:
        return base if device == "meta" else autocast_forward(base, dtype, device)

    def export(self, model: Any, weights: "dict[str, torch.Tensor]", config: Config, folder: Path) -> None:
        write_model(model, weights, config, training_dtype(config), folder)

    def serve_command(self, config: Config, folder: Path) -> str:
        return shlex.join(["vllm", "serve", str(folder), "--served-model-name", config.name])


LORA = LoraMethod(four_bit=False, lighter="qlora")
QLORA = LoraMethod(four_bit=True, lighter="")
FULL = FullMethod()
