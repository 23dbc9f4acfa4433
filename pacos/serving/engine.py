"""Sends requests to model servers: OpenAI-compatible *completions* endpoints, fed token ids.

Retries what can pass, restarts a server of our own that died, goes from one of several servers to another, and raises
a clear error for what cannot pass. The chat endpoint is never used: prompts are rendered by `templates.py`, as in
training.
"""

import asyncio
import contextlib
import copy
import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pacos.adapters import adapter_sha256, read_adapter_config
from pacos.config import EngineConfig
from pacos.errors import EngineError
from pacos.serving.client import OK, NoAnswer, send
from pacos.serving.completion import Completion, Sampling
from pacos.serving.cpu import runs_on_cpu, sampling_warning
from pacos.serving.endpoint import Endpoint, ServerAddress
from pacos.serving.merged import MergedCopy
from pacos.serving.replies import (
    ServedModel,
    largest_reply,
    read_completion,
    read_prompt_logprobs,
    refusal,
)
from pacos.serving.served import check_same_model, served_base
from pacos.serving.server import ManagedServer
from pacos.serving.servers import Servers

log = logging.getLogger("pacos")

BACKOFF_S = (1, 2, 4, 8, 16, 30, 30, 30)
# Of a request that the server leaves unanswered. Another try takes as long again.
SLOW_TRIES = 2
RESTARTS = 3


class Engine:
    """One model server or several of the same model, as the stages use them: at most `in_flight` requests at a time,
    each retried until answered."""

    def __init__(
        self,
        settings: EngineConfig,
        tokenizer: Any,
        address: ServerAddress,
        server: ManagedServer | None,
        *,
        in_flight: int,
        others: Sequence[ServerAddress] = (),
    ) -> None:
        """`server` is the one at `address` if pacos started it; `others` are more of the user's."""
        self.tokenizer = tokenizer
        self.max_model_len = 0
        self.in_flight = in_flight
        self.merged: MergedCopy | None = None
        self._settings = settings
        self._address = address
        self._server = server
        self.served: ServedModel | None = None
        self._adapters: dict[str, tuple[str, Path]] = {}
        self._slots = asyncio.Semaphore(in_flight)
        self._servers = Servers(
            [Endpoint(settings, each, connections=in_flight) for each in (address, *others)], self._admit
        )
        self._wanted: str | None = None
        self._first = ""  # the address of the server whose model the others' must be
        self._sorting_checked = False

    async def complete(self, prompt_ids: list[int], sampling: Sampling, *, adapter: str | None = None) -> Completion:
        """Complete one prompt.

        Raises EngineError for a request that the server refuses, and when it stays away through all retries.
        """
        self._warn_of_sorting(sampling)
        began = time.monotonic()
        reply, where = await self._request(prompt_ids, sampling, adapter, {})
        return read_completion(reply, where, time.monotonic() - began)

    def _warn_of_sorting(self, sampling: Sampling) -> None:
        """Once, where this machine's CPU does the sampling."""
        if self._sorting_checked or not sampling.temperature or self._server is None or not runs_on_cpu():
            return
        self._sorting_checked = True
        if warning := sampling_warning(len(self.tokenizer), top_p=sampling.top_p, top_k=sampling.top_k):
            log.warning("%s", warning)

    async def prompt_logprobs(self, prompt_ids: list[int], *, adapter: str | None = None) -> list[float]:
        """Natural-log probability of each prompt token after the first: length len(prompt_ids) - 1."""
        reply, where = await self._request(prompt_ids, Sampling(max_tokens=1), adapter, {"prompt_logprobs": 0})
        return read_prompt_logprobs(reply, prompt_ids, where)

    async def _request(
        self, prompt_ids: list[int], sampling: Sampling, adapter: str | None, extra: Mapping[str, object]
    ) -> tuple[str, str]:
        """(the reply, where it came from)."""
        body = {"model": self._model_name(adapter), "prompt": prompt_ids, **sampling.fields(), **extra}
        largest = largest_reply(len(prompt_ids) + sampling.max_tokens)
        silence_s = self._settings.silence_s(sampling.max_tokens)
        slow = 0
        async with self._slots:
            for attempt in range(len(BACKOFF_S) + 1):
                endpoint = await self._servers.choose()
                generation = self._address.generation
                try:
                    status, text = await endpoint.complete(body, largest=largest, silence_s=silence_s)
                except NoAnswer as failure:
                    slow += failure.is_slow
                    if attempt == len(BACKOFF_S) or slow >= max(SLOW_TRIES, len(self._servers.all)):
                        raise self._gave_up(failure, endpoint.url, attempt + 1) from failure
                    if self._servers.leave(endpoint, failure):  # which has said so, once for all requests
                        continue
                    log.warning("request failed (%s), trying again", failure)
                    if not await self._recovered(generation):
                        await asyncio.sleep(max(BACKOFF_S[attempt], failure.retry_after_s))
                    continue
                if status != OK:
                    raise refusal(status, text, endpoint.url, self._settings.api_key_env)
                return text, f"{endpoint.url}/completions"
        raise AssertionError("unreachable")

    def _model_name(self, adapter: str | None) -> str:
        if self.merged:
            if adapter is None:
                raise ValueError("a merged copy cannot answer as its base")
            adapter = None
        if adapter is not None:
            return self._adapters[adapter][0]
        return self.served.id if self.served else ""

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
            try:
                await self._servers.all[0].load(self._adapters.values())
            except NoAnswer as failure:
                raise self._does_not_load(failure) from failure
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

    async def connect(
        self, adapters: Mapping[str, Path], merged: MergedCopy | None = None, *, model: str | None = None
    ) -> None:
        """Read what is served and load the adapters; a `merged` copy stands for the only one.

        `model` is what a server of the user's should serve; None for one that pacos started. Raises EngineError when
        nothing answers, our key is refused, the model is not there, or several servers do not serve the same.
        """
        self._wanted, self.merged = model, merged
        self._name_adapters({} if merged else adapters)
        try:
            await self._servers.open()
        except NoAnswer as failure:
            raise EngineError(
                f"no server answers: {failure}",
                where=", ".join(one.url for one in self._servers.all),
                todo="start it, or correct `engine.url`",
            ) from failure

    async def _admit(self, endpoint: Endpoint) -> None:
        """Check what a server serves, against the others if there are some, and load the adapters into it."""
        models = await endpoint.models()
        own = next((one for one in models if not one.parent), models[0])
        served = served_base(models, self._wanted, endpoint.url) if self._wanted else own
        context = served.max_model_len or int(self.tokenizer.model_max_length)
        if self.served is None:
            self.served, self._first, self.max_model_len = served, endpoint.url, context
        check_same_model(served, endpoint.url, self.served, self._first)
        if context != self.max_model_len:
            raise EngineError(
                f"takes {context} tokens, and {self._first} takes {self.max_model_len}",
                where=endpoint.url,
                todo="start all servers of `engine.url` with the same --max-model-len",
            )
        await endpoint.load(self._adapters.values())

    async def add_adapters(self, adapters: Mapping[str, Path]) -> None:
        """Load LoRA adapters into the running servers; requests name them by these names."""
        self._name_adapters(adapters)
        for endpoint in list(self._servers.live):
            try:
                await endpoint.load(self._adapters.values())
            except NoAnswer as failure:
                if not self._servers.leave(endpoint, failure):
                    raise self._does_not_load(failure) from failure

    def _name_adapters(self, adapters: Mapping[str, Path]) -> None:
        for name, path in adapters.items():
            read_adapter_config(path)
            self._adapters[name] = (served_name(path), path.resolve())

    def on_each_server(self) -> list["Engine"]:
        """An engine for each server that answers now, which asks it alone: for what must hold of all of them."""
        engines = []
        for endpoint in self._servers.live if self._servers.are_several else []:
            alone = copy.copy(self)
            alone._servers = Servers([endpoint], self._admit)
            engines.append(alone)
        return engines or [self]

    async def close(self) -> None:
        """Close the connections; the servers stay as they are."""
        await self._servers.close()

    def _does_not_load(self, failure: NoAnswer) -> EngineError:
        names = ", ".join(str(path) for _, path in self._adapters.values())
        return EngineError(f"the server does not load the adapter: {failure}", where=names)

    def _gave_up(self, failure: NoAnswer, url: str, tries: int) -> EngineError:
        todo = "check that the server runs, then rerun: answered requests are kept"
        if failure.is_slow:
            todo += "; for one that needs longer, raise engine.silence_timeout_s and engine.request_timeout_s"
        return EngineError(f"no answer after {tries} tries: {failure}", where=url, todo=todo)


def served_name(adapter: Path) -> str:
    """Named by content: a server shared with others keeps adapters apart, and has each of them once only."""
    return f"adapter-{adapter_sha256(adapter)[:16]}"
