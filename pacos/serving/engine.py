"""The one door to a model server: an OpenAI-compatible *completions* endpoint, fed token ids.

    async with open_engine(config, run.dir, adapters={"tuned": path}) as engine:
        answer = await engine.complete(prompt_ids, Sampling(max_tokens=128), adapter="tuned")

`engine.url` names a server that is there (a node, a load balancer, vLLM on Ray); without it one is started here
and stopped at the end. The chat endpoint is never used: prompts are rendered by `templates.py`, as in training.
"""

import asyncio
import contextlib
import json
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.config import Config
from pacos.errors import ConfigError, EngineError
from pacos.models import load_tokenizer, read_adapter_config
from pacos.runs import file_sha256
from pacos.serving.client import Client, NoAnswer, message
from pacos.serving.cpu import Workload, sampling_warning
from pacos.serving.merged import MergedCopy, merged_copy
from pacos.serving.server import ManagedServer, ask, in_flight, runs_on_cpu, serving_dtype

log = logging.getLogger("pacos")

# A server that the caller has started for several commands: JSON of model, url and key.
LENT_ENGINE = "PACOS_LENT_ENGINE"
BACKOFF_S = (1, 2, 4, 8, 16, 30, 30, 30)
RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Sampling:
    """Everything a server could otherwise decide for us; all of it is sent with every request."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    choice: tuple[str, ...] = ()  # the only answers allowed; servers other than vLLM may pass over it


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float


@dataclass
class Address:
    """Where the server is at the moment; `born` counts its starts, so that one death is mended once. `found_alive` is
    when it was last looked at after a failure and lived, so that a hundred failures of one moment take one look."""

    url: str
    key: str
    born: int = 0
    found_alive: float = 0.0
    mending: asyncio.Lock = field(default_factory=asyncio.Lock)


class Engine:
    """Sends requests, at most `in_flight` at a time, and sees each of them through."""

    def __init__(
        self, config: Config, tokenizer: Any, address: Address, server: ManagedServer | None, *, in_flight: int
    ) -> None:
        self.tokenizer = tokenizer
        self.max_model_len = 0
        self.in_flight = in_flight
        self.merged: MergedCopy | None = None
        self._config = config
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
        body = {"model": self._model_name(adapter), "prompt": prompt_ids, **_request_fields(sampling), **extra}
        async with self._slots:
            for attempt in range(len(BACKOFF_S) + 1):
                born = self._address.born
                try:
                    status, text = await self._client(born).post("/completions", body)
                except NoAnswer as failure:
                    if attempt == len(BACKOFF_S):
                        raise self._gave_up(failure) from failure
                    log.warning("request failed (%s), trying again", failure)
                    if not await self._mended(born):
                        await asyncio.sleep(BACKOFF_S[attempt])
                    continue
                if status != 200:
                    raise self._refused(status, text)
                return self._parsed(text)
        raise AssertionError("unreachable")

    def _client(self, born: int) -> Client:
        if born not in self._clients:
            engine = self._config.engine
            self._clients[born] = Client(
                self._address.url,
                self._address.key,
                connections=self.in_flight,
                timeout_s=engine.request_timeout_s,
            )
        return self._clients[born]

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

    async def _mended(self, born: int) -> bool:
        """Whether our own server had died and is up again. The first to notice restarts it; the others wait."""
        if self._server is None:
            return False
        noticed = time.monotonic()
        async with self._address.mending:
            if self._address.born != born:
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
            if born >= RESTARTS:
                raise EngineError(
                    f"the server died {born + 1} times; its last lines:\n{self._server.log_tail()}",
                    todo="lower engine.max_in_flight or engine.args.max_model_len; answered requests are kept",
                )
            log.warning("the server died; starting it again (%d of %d)", born + 1, RESTARTS)
            await asyncio.to_thread(self._server.start)
            self._address.url, self._address.born = self._server.url, born + 1
            await self._load_adapters()
            return True

    async def tokens_generated(self) -> int | None:
        """Tokens that our own server has generated since its start; None for any other, or where it does not tell."""
        if self._server is None:
            return None
        url = f"{self._address.url.removesuffix('/v1')}/metrics"
        with contextlib.suppress(OSError):
            status, text = await asyncio.to_thread(ask, url, self._address.key, timeout_s=5)
            found = re.findall(r"^vllm:generation_tokens_total(?:{.*})? (\S+)$", text, re.MULTILINE)
            return int(sum(map(float, found))) if status == 200 and found else None
        return None

    async def connect(self, adapters: Mapping[str, Path], copy: MergedCopy | None = None) -> None:
        """Learn what is served, and load the adapters, unless `copy` is served in the place of the only one."""
        await self._read_models()
        self.merged = copy
        if not copy:
            await self.add_adapters(adapters)

    async def _read_models(self) -> None:
        """Learn the served name and context length. Raises EngineError when nobody answers, or not to us."""
        url = f"{self._address.url}/models"
        try:
            status, text = await asyncio.to_thread(ask, url, self._address.key)
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
        """Load LoRA adapters while the server runs; they are asked for by these names."""
        for name, path in adapters.items():
            read_adapter_config(path)
            self._adapters[name] = (served_name(path), path.resolve())
        await self._load_adapters()

    async def _load_adapters(self) -> None:
        for served, path in self._adapters.values():
            body = {"lora_name": served, "lora_path": str(path)}
            url = f"{self._address.url}/load_lora_adapter"
            status, text = await asyncio.to_thread(ask, url, self._address.key, body, timeout_s=300)
            if status == 404:
                raise EngineError(
                    "the server takes no adapters",
                    where=self._address.url,
                    todo="start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True",
                )
            if status != 200 and "already been loaded" not in text:
                raise EngineError(f"the server refuses the adapter: {message(text)}", where=str(path))

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()

    def _refused(self, status: int, reason: str) -> EngineError:
        todo = None
        if status in (401, 403):
            todo = f"put the server's key into the environment variable {self._config.engine.api_key_env}"
        return EngineError(f"the server refuses ({status}): {message(reason)}", where=self._address.url, todo=todo)

    def _gave_up(self, failure: NoAnswer) -> EngineError:
        return EngineError(
            f"no answer after {len(BACKOFF_S) + 1} tries: {failure}",
            where=self._address.url,
            todo="see that the server runs, then give the same command again: answered requests are kept",
        )


@contextlib.asynccontextmanager
async def open_engine(
    config: Config,
    run_dir: Path,
    *,
    model: str | None = None,
    adapters: Mapping[str, Path] | None = None,
    workload: Workload | None = None,
) -> AsyncIterator[Engine]:
    """Connect to `engine.url`, or to the server lent by the caller where it serves what is asked for, or start one.

    `model` is engine.model, then model.base unless given. Where adapters are served merged (see `serves_merged`), it
    must be one, and the engine answers for it alone. `workload` decides how a CPU engine is started.

    Raises EngineError (no answer, refused, died while starting) and ModelError (model or adapter not there).
    """
    model = model or config.teacher
    adapters, workload = adapters or {}, workload or Workload()
    tokenizer = await asyncio.to_thread(load_tokenizer, model, config.model)
    merged = bool(adapters) and serves_merged(config)
    if address := _running_server(config, model, merged=merged):
        engine = Engine(config, tokenizer, address, None, in_flight=in_flight(config, model, workload))
        try:
            await engine.connect(adapters)
            yield engine
        finally:
            await engine.close()
        return
    with contextlib.ExitStack() as stack:
        copy = None
        if merged:
            dtype = serving_dtype(config.model.dtype)
            merging = merged_copy(_only(adapters), model, config.model, run_dir / "merged", dtype=dtype)
            copy = await asyncio.to_thread(stack.enter_context, merging)
        server = ManagedServer(
            config, run_dir, model, [] if copy else list(adapters.values()), copy=copy, workload=workload
        )
        stack.callback(server.stop)
        await asyncio.to_thread(server.start)
        engine = Engine(config, tokenizer, Address(server.url, server.key), server, in_flight=server.in_flight)
        try:
            await engine.connect(adapters, copy)
            yield engine
        finally:
            await engine.close()


def serves_merged(config: Config) -> bool:
    """Whether adapters are answered for by merged copies, one server after another, instead of on their base's."""
    asked = config.evaluate.serve
    if asked == "merged" and config.engine.url:
        raise ConfigError(
            "a server given by `engine.url` cannot be started with a merged copy",
            where="evaluate.serve",
            todo="leave it at auto, or serve a merged model there (`pacos merge`) and name it in evaluate.models",
        )
    return asked == "merged" or (asked == "auto" and not config.engine.url and runs_on_cpu())


def _only(adapters: Mapping[str, Path]) -> Path:
    if len(adapters) != 1:
        raise ValueError(f"merged copies are served one at a time, not {sorted(adapters)}")
    return next(iter(adapters.values()))


def served_name(adapter: Path) -> str:
    """Named by content: a server shared with others keeps adapters apart, and has each of them once only."""
    return f"adapter-{file_sha256(adapter / 'adapter_model.safetensors')[:16]}"


def _running_server(config: Config, model: str, *, merged: bool) -> Address | None:
    if config.engine.url:
        return Address(config.engine.url.rstrip("/"), os.environ.get(config.engine.api_key_env, "EMPTY"))
    lent = json.loads(os.environ.get(LENT_ENGINE, "{}"))
    return Address(lent["url"], lent["key"]) if lent.get("model") == model and not merged else None


def _request_fields(sampling: Sampling) -> dict[str, Any]:
    return {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        **({"structured_outputs": {"choice": list(sampling.choice)}} if sampling.choice else {}),
    }
