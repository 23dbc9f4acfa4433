"""Sends requests to a model server: an OpenAI-compatible *completions* endpoint, fed token ids.

Retries what can pass, restarts a server of our own that died, and raises a clear error for what cannot pass. The chat
endpoint is never used: prompts are rendered by `templates.py`, as in training.
"""

import asyncio
import contextlib
import json
import logging
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.adapters import read_adapter_config
from pacos.config import EngineConfig
from pacos.errors import EngineError
from pacos.files import file_sha256
from pacos.serving.client import Client, NoAnswer, message, send
from pacos.serving.completion import Completion, Sampling
from pacos.serving.cpu import sampling_warning
from pacos.serving.flags import runs_on_cpu
from pacos.serving.merged import MergedCopy
from pacos.serving.server import ManagedServer

log = logging.getLogger("pacos")

BACKOFF_S = (1, 2, 4, 8, 16, 30, 30, 30)
RESTARTS = 3


@dataclass
class ServerAddress:
    """Where the server is. `generation` counts its starts, so that each death is handled once; `found_alive` is when it
    was last checked after a failure, so that a hundred failures of one moment make one check."""

    url: str
    key: str
    generation: int = 0
    found_alive: float = 0.0
    recovering: asyncio.Lock = field(default_factory=asyncio.Lock)


class Engine:
    """A model server as the stages use it: at most `in_flight` requests at a time, each retried until answered."""

    def __init__(
        self,
        settings: EngineConfig,
        tokenizer: Any,
        address: ServerAddress,
        server: ManagedServer | None,
        *,
        in_flight: int,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_model_len = 0
        self.in_flight = in_flight
        self.merged: MergedCopy | None = None
        self._settings = settings
        self._address = address
        self._server = server
        self._served_base = ""
        self._adapters: dict[str, tuple[str, Path]] = {}
        self._slots = asyncio.Semaphore(in_flight)
        self._clients: dict[int, Client] = {}
        self._sorting_checked = False

    async def complete(self, prompt_ids: list[int], sampling: Sampling, *, adapter: str | None = None) -> Completion:
        """Complete one prompt.

        Raises EngineError for a request that the server refuses, and when it stays away through all retries.
        """
        self._warn_of_sorting(sampling)
        began = time.monotonic()
        answer = await self._request(prompt_ids, sampling, adapter, {})
        choice, usage = answer["choices"][0], answer["usage"]
        return Completion(
            text=choice["text"],
            finish_reason=choice["finish_reason"] or "",
            prompt_tokens=usage["prompt_tokens"],
            completion_tokens=usage["completion_tokens"],
            seconds=time.monotonic() - began,
        )

    def _warn_of_sorting(self, sampling: Sampling) -> None:
        """Once, where this machine's CPU does the sampling."""
        if self._sorting_checked or not sampling.temperature or self._server is None or not runs_on_cpu():
            return
        self._sorting_checked = True
        if warning := sampling_warning(len(self.tokenizer), top_p=sampling.top_p, top_k=sampling.top_k):
            log.warning("%s", warning)

    async def prompt_logprobs(self, prompt_ids: list[int], *, adapter: str | None = None) -> list[float]:
        """Natural-log probability of each prompt token after the first: length len(prompt_ids) - 1."""
        answer = await self._request(prompt_ids, Sampling(max_tokens=1), adapter, {"prompt_logprobs": 0})
        per_token = answer["choices"][0]["prompt_logprobs"][1:]
        return [float(entry[str(token)]["logprob"]) for entry, token in zip(per_token, prompt_ids[1:], strict=True)]

    async def _request(
        self, prompt_ids: list[int], sampling: Sampling, adapter: str | None, extra: Mapping[str, object]
    ) -> dict[str, Any]:
        body = {"model": self._model_name(adapter), "prompt": prompt_ids, **sampling.fields(), **extra}
        async with self._slots:
            for attempt in range(len(BACKOFF_S) + 1):
                generation = self._address.generation
                try:
                    status, text = await self._client(generation).post("/completions", body)
                except NoAnswer as failure:
                    if attempt == len(BACKOFF_S):
                        raise self._gave_up(failure) from failure
                    log.warning("request failed (%s), trying again", failure)
                    if not await self._recovered(generation):
                        await asyncio.sleep(BACKOFF_S[attempt])
                    continue
                if status != 200:
                    raise self._refused(status, text)
                return self._parsed(text)
        raise AssertionError("unreachable")

    def _client(self, generation: int) -> Client:
        if generation not in self._clients:
            self._clients[generation] = Client(
                self._address.url,
                self._address.key,
                connections=self.in_flight,
                timeout_s=self._settings.request_timeout_s,
            )
        return self._clients[generation]

    def _parsed(self, text: str) -> dict[str, Any]:
        try:
            answer = json.loads(text)
            answer["choices"][0], answer["usage"]
        except (json.JSONDecodeError, KeyError, IndexError, TypeError):
            raise EngineError(
                f"not an OpenAI completion: {text[:200]!r}",
                where=f"{self._address.url}/completions",
                todo="`engine.url` must name the /v1 of an OpenAI-compatible server",
            ) from None
        return dict(answer)

    def _model_name(self, adapter: str | None) -> str:
        if self.merged:
            if adapter is None:
                raise ValueError("a merged copy cannot answer as its base")
            return self._served_base
        return self._served_base if adapter is None else self._adapters[adapter][0]

    async def _recovered(self, generation: int) -> bool:
        """Whether our own server had died and answers again. The first to notice restarts it; the others wait."""
        if self._server is None:
            return False
        noticed = time.monotonic()
        async with self._address.recovering:
            if self._address.generation != generation:
                return True
            if noticed < self._address.found_alive:
                return False
            for _ in range(20):  # a dying engine takes a moment to take its HTTP front down with it
                if not self._server.is_alive:
                    break
                await asyncio.sleep(0.1)
            else:
                self._address.found_alive = time.monotonic()
                return False
            if generation >= RESTARTS:
                raise EngineError(
                    f"the server died {generation + 1} times; its last lines:\n{self._server.log_tail()}",
                    todo="lower engine.max_in_flight or engine.args.max_model_len; answered requests are kept",
                )
            log.warning("the server died; starting it again (%d of %d)", generation + 1, RESTARTS)
            await asyncio.to_thread(self._server.start)
            self._address.url, self._address.generation = self._server.url, generation + 1
            await self._load_adapters()
            return True

    async def tokens_generated(self) -> int | None:
        """Tokens that our own server has generated since its start; None for any other, or where it does not tell."""
        if self._server is None:
            return None
        url = f"{self._address.url.removesuffix('/v1')}/metrics"
        with contextlib.suppress(OSError):
            status, text = await asyncio.to_thread(send, url, self._address.key, timeout_s=5)
            found = re.findall(r"^vllm:generation_tokens_total(?:{.*})? (\S+)$", text, re.MULTILINE)
            return int(sum(map(float, found))) if status == 200 and found else None
        return None

    async def connect(self, adapters: Mapping[str, Path], copy: MergedCopy | None = None) -> None:
        """Read what is served and load the adapters; a merged `copy` stands for the only one."""
        await self._read_models()
        self.merged = copy
        if not copy:
            await self.add_adapters(adapters)

    async def _read_models(self) -> None:
        """Read the served name and context length. Raises EngineError when nothing answers, or refuses our key."""
        url = f"{self._address.url}/models"
        try:
            status, text = await asyncio.to_thread(send, url, self._address.key)
        except OSError as failure:
            raise EngineError(
                f"no server answers: {failure}", where=self._address.url, todo="start it, or correct `engine.url`"
            ) from failure
        if status != 200:
            raise self._refused(status, text)
        models = json.loads(text)["data"]
        base = next((model for model in models if not model.get("parent")), models[0])
        self._served_base = base["id"]
        self.max_model_len = int(base.get("max_model_len") or self.tokenizer.model_max_length)

    async def add_adapters(self, adapters: Mapping[str, Path]) -> None:
        """Load LoRA adapters into the running server; requests name them by these names."""
        for name, path in adapters.items():
            read_adapter_config(path)
            self._adapters[name] = (served_name(path), path.resolve())
        await self._load_adapters()

    async def _load_adapters(self) -> None:
        for served, path in self._adapters.values():
            body = {"lora_name": served, "lora_path": str(path)}
            url = f"{self._address.url}/load_lora_adapter"
            status, text = await asyncio.to_thread(send, url, self._address.key, body, timeout_s=300)
            if status == 404:
                raise EngineError(
                    "the server takes no adapters",
                    where=self._address.url,
                    todo="start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
                )
            if status != 200 and "already been loaded" not in text:
                raise EngineError(f"the server refuses the adapter: {message(text)}", where=str(path))

    async def close(self) -> None:
        """Close the connections; the server stays as it is."""
        for client in self._clients.values():
            await client.close()

    def _refused(self, status: int, reason: str) -> EngineError:
        todo = None
        if status in (401, 403):
            todo = f"put the server's key into the environment variable {self._settings.api_key_env}"
        return EngineError(f"the server refuses ({status}): {message(reason)}", where=self._address.url, todo=todo)

    def _gave_up(self, failure: NoAnswer) -> EngineError:
        return EngineError(
            f"no answer after {len(BACKOFF_S) + 1} tries: {failure}",
            where=self._address.url,
            todo="check that the server runs, then rerun: answered requests are kept",
        )


def served_name(adapter: Path) -> str:
    """Named by content: a server shared with others keeps adapters apart, and has each of them once only."""
    return f"adapter-{file_sha256(adapter / 'adapter_model.safetensors')[:16]}"
