"""A vLLM server that pacos starts and stops.

It listens on a Unix socket in a folder that only this user can enter, and asks for a fresh random key, handed over by
environment. It runs under `guard.py`, so that it cannot outlive pacos.
"""

import logging
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pacos.config import Config
from pacos.disk import open_to_append
from pacos.errors import EngineError
from pacos.progress import bar
from pacos.serving import guarded
from pacos.serving.address import SOCKET, private_folder, socket_url
from pacos.serving.client import send
from pacos.serving.cpu import Workload, cpu_environment, runs_on_cpu
from pacos.serving.deterministic import deterministic_environment
from pacos.serving.flags import Flags, in_flight, server_flags, to_arguments
from pacos.serving.merged import MergedCopy

log = logging.getLogger("pacos")

LOG_LINES_SHOWN = 15
# Bytes that a log needs at least.
NO_ROOM = 2**16


class ManagedServer:
    """One vLLM server process. `start` and `stop` may be called again, after a crash for instance."""

    def __init__(
        self,
        flags: Flags,
        run_dir: Path,
        *,
        timeout_s: float,
        in_flight: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`flags` are vllm serve's; `in_flight` is how many requests at a time suit them. `environment` has variables
        that it needs besides."""
        self.key = secrets.token_urlsafe(24)
        self.url = ""
        self.in_flight = in_flight
        self._flags, self._environment = flags, dict(environment or {})
        self._timeout_s = timeout_s
        self._record = run_dir / guarded.SERVER_RECORD
        self._log = run_dir / "engine.log"
        self._logged_before = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: Path | None = None
        self._closed = False

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
        return cls(
            flags,
            run_dir,
            timeout_s=config.engine.start_timeout_s,
            in_flight=requests,
            environment=deterministic_environment(config),
        )

    def start(self) -> None:
        """Start the server and wait until it answers; what is left of an earlier start is stopped first.

        Raises EngineError with the server's own last lines when it ends or does not answer in time, RunError for a log
        that cannot be written.
        """
        self.stop()
        self._folder = private_folder()
        socket = self._folder / SOCKET
        self.url = socket_url(socket)
        # Last: of a flag that is given twice, the last one counts.
        arguments = to_arguments({**self._flags, "uds": str(socket)})
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *arguments]
        log.debug("vLLM's command: %s", " ".join(command))
        environment = server_environment(self.key, self._folder, self._flags) | self._environment
        try:
            with os.fdopen(open_to_append(self._log), "ab") as output:
                self._logged_before = output.seek(0, os.SEEK_END)
                self._process = guarded.start(self._record, command, environment, scratch=self._folder, output=output)
            self._wait_until_healthy()
        except BaseException:
            self.stop()
            raise

    @property
    def is_alive(self) -> bool:
        """Whether the process runs; it may not answer yet."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop every process of the server and wait until they are gone."""
        process, self._process = self._process, None
        if process is not None:
            guarded.finish(process, self._record)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def close(self) -> None:
        """Stop the server for good; a `start` that is under way in another thread ends with EngineError."""
        self._closed = True
        self.stop()

    def log_tail(self) -> str:
        """The last lines that the server logged since it was started, indented; of an engine that failed, those of its
        error."""
        written = self._log.read_bytes()[self._logged_before :] if self._log.exists() else b""
        lines = written.decode("utf-8", "replace").splitlines()
        # Behind the error come a hundred lines of shutting down.
        failure = [line for line in lines if line.startswith("(EngineCore") and " ERROR " in line]
        return "\n".join(f"    {line}" for line in (failure or lines)[-LOG_LINES_SHOWN:])

    def _wait_until_healthy(self) -> None:
        health = f"{self.url.removesuffix('/v1')}/health"
        deadline = time.monotonic() + self._timeout_s
        with bar("starting vLLM", None, "s") as progress:
            while time.monotonic() < deadline:
                if self._closed or not self.is_alive:
                    raise self._failure("the server ended while starting")
                if _answers(health, self.key):
                    return
                time.sleep(0.5)
                progress.update(0.5)
        raise self._failure(f"the server did not answer within {self._timeout_s} s")

    def _failure(self, what: str) -> EngineError:
        tail = self.log_tail()
        todo = _advice(tail)
        if shutil.disk_usage(self._log.parent).free < NO_ROOM:
            todo = "the disk is full: make space and rerun the same command"
        return EngineError(f"{what}; its last lines:\n{tail}", where=str(self._log), todo=todo)


def server_environment(key: str, folder: Path, flags: Flags) -> dict[str, str]:
    """Environment variables of a server of these flags besides ours; its processes' own sockets lie in `folder`."""
    environment = {
        "VLLM_API_KEY": key,
        "VLLM_RPC_BASE_PATH": str(folder),
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",
    }
    return environment | (cpu_environment(eager=bool(flags.get("enforce-eager"))) if runs_on_cpu() else {})


def _answers(url: str, key: str) -> bool:
    try:
        return send(url, key, timeout_s=2)[0] == 200
    except OSError:
        return False


def _advice(tail: str) -> str:
    lowered = tail.lower()
    if "nothing was started" in lowered:
        return "check that the disk has room and that the folder is yours to write to"
    if "out of memory" in lowered or "no available memory" in lowered or "kv cache" in lowered:
        return "give it less: engine.args.max_model_len, engine.args.gpu_memory_utilization, or a smaller model"
    return "the whole log is in the file named above; engine.args passes vllm serve's flags"
