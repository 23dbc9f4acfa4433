"""The HTTP client of an engine, with a connection for every request in flight.

aiohttp, as in vLLM's own benchmarks. openai's client goes through the prompt's token ids one by one: where prompts are
long and answers short, it sets the pace and not the engine.
"""

import contextlib
import json
import resource
import urllib.error
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, getproxies, proxy_bypass, urlopen

from pacos.errors import ConfigError

SPARE_FILES = 256  # what a process has open besides its connections
# vLLM closes a connection that was idle for 5 s; a request sent at that moment would be lost.
KEEP_ALIVE_S = 3
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500


class NoAnswer(Exception):
    """A failure that may pass: no connection, a broken one, a timeout, or a server too busy or in trouble."""


def send(url: str, key: str, body: Mapping[str, object] | None = None, *, timeout_s: float = 60) -> tuple[int, str]:
    """(status, text) of a GET, or of a POST where there is a body; blocks. Raises OSError when nothing answers."""
    request = Request(url, headers={"Authorization": f"Bearer {key}"})
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode("utf-8", "replace")


class Client:
    """Posts JSON. It does not retry: the engine does, where a dead server can be told from a busy one."""

    def __init__(self, url: str, key: str, *, connections: int, timeout_s: float) -> None:
        """Raises ConfigError where the system does not let this process open so many files."""
        import aiohttp

        _allow_open_files(connections + SPARE_FILES)
        self._url = url
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            proxy=proxy_of(url),
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        """(status, text). Raises NoAnswer."""
        import aiohttp

        try:
            async with self._session.post(f"{self._url}{path}", data=json.dumps(body).encode()) as answer:
                status, text = answer.status, (await answer.read()).decode("utf-8", "replace")
        except (aiohttp.ClientError, TimeoutError, OSError) as failure:
            raise NoAnswer(f"{type(failure).__name__}: {failure}".rstrip(": ")) from failure
        if status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
            raise NoAnswer(f"{status}: {message(text)}")
        return status, text

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def message(text: str) -> str:
    """The message of an OpenAI-style error body, or its first line."""
    with contextlib.suppress(json.JSONDecodeError, KeyError, TypeError):
        return str(json.loads(text)["error"]["message"])
    return text.strip().splitlines()[0] if text.strip() else "no reason given"


def proxy_of(url: str) -> str | None:
    """The proxy that the environment names for this URL. aiohttp would look again for every request."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _allow_open_files(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise ConfigError(
            f"this system lets a process open {hard} files, and {count} are needed",
            where="engine.max_in_flight",
            todo=f"lower it to {hard - SPARE_FILES}, or raise the limit (ulimit -n)",
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
