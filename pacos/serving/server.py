"""A vLLM server that pacos starts and stops.

Bound to loopback on a free port, with a fresh random key handed over by environment. It runs under
`guard.py`, so that it cannot outlive pacos.
"""

import logging
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from pacos.config import Config
from pacos.errors import EngineError
from pacos.progress import bar
from pacos.serving import guard
from pacos.serving.cpu import Workload, cpu_environment
from pacos.serving.flags import HOST, Flags, in_flight, runs_on_cpu, server_flags, to_arguments
from pacos.serving.merged import MergedCopy

log = logging.getLogger("pacos")

LOG_LINES_SHOWN = 15


class ManagedServer:
    """One vLLM server process. `start` and `stop` may be called again, after a crash for instance."""

    def __init__(self, flags: Flags, run_dir: Path, *, timeout_s: float, in_flight: int) -> None:
        """`flags` are vllm serve's; `in_flight` is how many requests at a time suit them."""
        self.key = secrets.token_urlsafe(24)
        self.url = ""
        self.in_flight = in_flight
        self._flags = flags
        self._timeout_s = timeout_s
        self._record = run_dir / "engine.json"
        self._log = run_dir / "engine.log"
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def of(
        cls,
        config: Config,
        run_dir: Path,
        model: str,
        adapters: Sequence[Path] = (),
        *,
        copy: MergedCopy | None = None,
        workload: Workload | None = None,
    ) -> "ManagedServer":
        """A server of `model`, or of its merged `copy`, by the configuration's `engine` and `model` sections."""
        workload = workload or Workload()
        requests = in_flight(config, model, workload)
        flags = server_flags(config, model, adapters, workload, requests)
        if copy:
            flags |= {"model": str(copy.folder), "dtype": copy.dtype}
            flags.pop("revision", None)
        return cls(flags, run_dir, timeout_s=config.engine.start_timeout_s, in_flight=requests)

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
        """Whether the process runs; it may not answer yet."""
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
        """The last lines of the server's log, indented."""
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
        deadline = time.monotonic() + self._timeout_s
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
        raise self._failure(f"the server did not answer within {self._timeout_s} s")

    def _failure(self, what: str) -> EngineError:
        tail = self.log_tail()
        return EngineError(f"{what}; its last lines:\n{tail}", where=str(self._log), todo=_advice(tail))


def server_environment(key: str) -> dict[str, str]:
    """Environment variables of the server besides ours."""
    environment = {
        "VLLM_API_KEY": key,
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    return environment | (cpu_environment() if runs_on_cpu() else {})


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
