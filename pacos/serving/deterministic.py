"""`engine.deterministic`: an answer depends on its request alone, not on what the server computes at the same time.

A GPU runs vLLM 0.32's batch-invariant mode (`VLLM_BATCH_INVARIANT`), which has kernels for compute capability 8.0 and
above. The products of a CPU round differently with the number of rows, so requests are answered one at a time, in
float32, and no part of a prompt is taken from another's.
"""

import logging

from pacos.config import Config
from pacos.errors import ConfigError
from pacos.machine import nvidia_smi
from pacos.serving.cpu import runs_on_cpu

log = logging.getLogger("pacos")

LEAST_CAPABILITY = 8.0
ON_CPU: dict[str, str | int | float | bool] = {
    "dtype": "float32",
    "max-num-seqs": 1,
    "enable-prefix-caching": False,
}
ON_GPU = {"VLLM_BATCH_INVARIANT": "1"}


def deterministic_flags(config: Config, adapters: int = 0) -> dict[str, str | int | float | bool]:
    """vllm serve's flags for `engine.deterministic`; none without it.

    Raises ConfigError where the configuration asks for something else, or the GPUs have no such kernels.
    """
    if not config.engine.deterministic:
        return {}
    if adapters:
        log.warning("engine.deterministic: answers of adapters that are served as LoRA are not promised to repeat")
    if not runs_on_cpu():
        _check_capability()
        return {}
    asked = config.engine.flags
    if config.model.dtype not in ("auto", "float32"):
        asked["dtype"] = config.model.dtype
    for name, value in ON_CPU.items():
        if asked.get(name, value) != value:
            raise ConfigError(
                f"on a CPU answers repeat with {name} {value} only, and {asked[name]} is asked for",
                where="engine.deterministic",
                todo=f"leave {name} out, or engine.deterministic",
            )
    return ON_CPU


def deterministic_environment(config: Config) -> dict[str, str]:
    """Environment variables of the server for `engine.deterministic`."""
    return dict(ON_GPU) if config.engine.deterministic and not runs_on_cpu() else {}


def how_answers_repeat(config: Config) -> dict[str, str]:
    """What a journal's source says about it; nothing without `engine.deterministic`. Logs what is not promised."""
    if not config.engine.deterministic:
        return {}
    if config.engine.url:
        log.warning(
            "engine.deterministic: seeds are sent, but whether answers repeat is up to the servers of engine.url; "
            "VLLM_BATCH_INVARIANT=1 makes vLLM repeat itself on a GPU"
        )
        how = "not promised: engine.url"
    else:
        how = "float32, one at a time" if runs_on_cpu() else "VLLM_BATCH_INVARIANT"
    return {"answers repeat": how}


def _check_capability() -> None:
    found = [float(line) for line in nvidia_smi("compute_cap") if line.strip().replace(".", "", 1).isdigit()]
    if found and min(found) < LEAST_CAPABILITY:
        raise ConfigError(
            f"vLLM repeats itself on GPUs of compute capability {LEAST_CAPABILITY} and above, and this one has "
            f"{min(found)}",
            where="engine.deterministic",
            todo="leave it out",
        )
