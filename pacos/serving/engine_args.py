"""Which flags of `vllm serve` an experiment may give in `engine.args`."""

import logging
from collections.abc import Mapping

from pacos.config import Config
from pacos.errors import ConfigError

log = logging.getLogger("pacos")

# An experiment does not decide where the server listens and which keys it accepts, and any user of the machine can read
# a key on a command line.
OURS = ("uds", "host", "port", "api-key", "ssl-", "hf-token", "grpc", "grpc-port", "root-path", "allowed-", "headless")
# What loads code by name, reads a file of flags, code or templates, or calls other machines: vLLM 0.32.
RUNS_CODE = (
    *("middleware", "config", "logging-config", "log-config-file", "trust-remote-code", "code-revision"),
    *("worker-cls", "worker-extension-cls", "scheduler-cls", "model-class-overrides", "logits-processors"),
    *("tool-parser-plugin", "reasoning-parser-plugin", "io-processor-plugin", "tool-server", "compilation-config"),
    *("load-format", "model-loader-extra-config", "model", "tokenizer", "hf-config-path", "lora-modules"),
    *("default-mm-loras", "chat-template", "trust-request-chat-template", "trust-request-mm-kwargs"),
    *("speculative-config", "spec-model", "spec-method", "additional-config", "profiler-config"),
    *("kv-transfer-config", "kv-events-config", "kv-offloading-backend", "ec-transfer-config", "ec-manager-config"),
    *("weight-transfer-config", "aux-output-config", "master-addr", "data-parallel-address", "otlp-traces-endpoint"),
    *("generation-config",),
)


def engine_flags(config: Config) -> dict[str, str | int | float | bool]:
    """`engine.args`, named as vLLM's command line does. Raises ConfigError as `check_engine_args`."""
    asked = config.engine.flags
    check_engine_args(asked, trusted=config.model.trust_remote_code)
    return asked


def check_engine_args(asked: Mapping[str, object], *, trusted: bool) -> None:
    """Check the flags, named with hyphens.

    Raises ConfigError for one that pacos sets itself, and for one that runs code or reaches out, unless the experiment
    is `trusted` to do so: then it is said.
    """
    for given, value in asked.items():
        name = given.lstrip("-").partition("=")[0]  # what follows may be a key
        flag = name.partition(".")[0]
        where = f"engine.args.{name.replace('-', '_')}"
        if _is_among(flag, OURS):
            raise ConfigError(
                f"the server that pacos starts takes no --{name}: an experiment does not say where it listens or "
                "which keys it accepts",
                where=where,
                todo="leave it out; for a server on the network, start `vllm serve` yourself and set `engine.url`",
            )
        if not (_is_among(flag, RUNS_CODE) or _names_a_class(flag, value)) or value is False:
            continue
        if not trusted:
            raise ConfigError(
                f"--{name} has the server run code, read files or call addresses that the experiment names",
                where=where,
                todo="leave it out, or set model.trust_remote_code=true if you have read the experiment and trust it",
            )
        log.warning("%s: the server runs code, reads files or calls addresses that the experiment names", where)


def _is_among(flag: str, names: tuple[str, ...]) -> bool:
    """vLLM takes a flag by its first letters, too. A name that ends in a hyphen stands for all that begin with it."""
    return any(name.startswith(flag) or (name.endswith("-") and flag.startswith(name)) for name in names)


def _names_a_class(flag: str, value: object) -> bool:
    return "distributed-executor-backend".startswith(flag) and "." in str(value)
