"""One model server as an engine sees it: sends it a request, loads adapters into it, notices when it falls silent.

Nothing is sent twice here: `engine.py` tries again, at this server or at another one (`servers.py`).
"""

import asyncio
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.config import EngineConfig
from pacos.errors import EngineError
from pacos.serving.client import OK, Client, NoAnswer
from pacos.serving.replies import ServedModel, message, read_models, refusal

NOT_FOUND = 404
LOADING_S = 300


@dataclass
class ServerAddress:
    """Where a server is. `generation` counts its starts, so that each death is handled once; `found_alive` is when it
    was last checked after a failure, so that a hundred failures of one moment make one check."""

    url: str
    key: str
    generation: int = 0
    found_alive: float = 0.0
    recovering: asyncio.Lock = field(default_factory=asyncio.Lock)


class Endpoint:
    """A server and our connections to it. `in_flight` counts the completions that it was asked for and has not given;
    `heard` is when it last gave one, by the monotonic clock."""

    def __init__(self, settings: EngineConfig, address: ServerAddress, *, connections: int) -> None:
        self.address = address
        self.in_flight = 0
        self.heard = 0.0
        self.failures = 0  # since it last answered
        self._settings = settings
        self._connections = connections
        self._clients: dict[int, Client] = {}
        self._waiting: set[asyncio.Future[str]] = set()

    @property
    def url(self) -> str:
        """The address, ending in /v1."""
        return self.address.url

    async def complete(self, body: Mapping[str, Any], *, largest: int, silence_s: float) -> tuple[int, str]:
        """(status, reply), of `largest` bytes at most.

        Raises NoAnswer for what may pass, also as soon as the server has replied to nothing at all for `silence_s`: it
        may take as long for one request where others wait in front of it, but then these are answered.
        """
        posting = self._client().post("/completions", body, largest=largest)
        self.in_flight += 1
        try:
            return await self._while_heard(posting, silence_s)
        finally:
            self.in_flight -= 1

    async def _while_heard(self, posting: Coroutine[None, None, tuple[int, str]], silence_s: float) -> tuple[int, str]:
        began = time.monotonic()
        reply = asyncio.ensure_future(posting)
        given_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting.add(given_up)
        try:
            while not reply.done():
                silent = time.monotonic() - max(began, self.heard)
                if silent >= silence_s:
                    raise NoAnswer(f"the server has replied to nothing for {silence_s:g} s", is_slow=True)
                await asyncio.wait((reply, given_up), timeout=silence_s - silent, return_when=asyncio.FIRST_COMPLETED)
                if given_up.done() and not reply.done():
                    raise NoAnswer(given_up.result())
            found = reply.result()
            self.heard, self.failures = time.monotonic(), 0
            return found
        finally:
            self._waiting.discard(given_up)
            reply.cancel()
            await asyncio.gather(reply, return_exceptions=True)

    def give_up(self, reason: str) -> None:
        """End all requests in flight with NoAnswer."""
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(reason)

    async def trouble(self) -> str:
        """What is wrong with the server; "" where it says that it works, or has no /health."""
        try:
            await self._client().health()
        except NoAnswer as failure:
            return str(failure)
        return ""

    async def models(self) -> list[ServedModel]:
        """What it serves. Raises NoAnswer, and EngineError where it refuses to tell."""
        status, text = await self._client().get("/models")
        if status != OK:
            raise refusal(status, text, self.url, self._settings.api_key_env)
        return read_models(text, f"{self.url}/models")

    async def load(self, adapters: Iterable[tuple[str, Path]]) -> None:
        """Load LoRA adapters, given by the name to serve them by and the folder.

        Raises NoAnswer, and EngineError where the server refuses one.
        """
        for served, path in adapters:
            body = {"lora_name": served, "lora_path": str(path)}
            status, text = await self._client().post("/load_lora_adapter", body, timeout_s=LOADING_S)
            if status == NOT_FOUND and "adapter" not in text.lower():
                raise EngineError(
                    "the server takes no adapters",
                    where=self.url,
                    todo="start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
                )
            if status != OK and "already been loaded" not in text:
                todo = f"the server at {self.url} must be able to read this folder" if status == NOT_FOUND else None
                raise EngineError(
                    f"the server at {self.url} refuses the adapter: {message(text)}", where=str(path), todo=todo
                )

    def _client(self) -> Client:
        generation = self.address.generation
        if generation not in self._clients:
            self._clients[generation] = Client(
                self.address.url,
                self.address.key,
                connections=self._connections,
                timeout_s=self._settings.request_timeout_s,
            )
        return self._clients[generation]

    async def close(self) -> None:
        """Close the connections; the server stays as it is."""
        for client in self._clients.values():
            await client.close()
