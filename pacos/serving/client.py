"""The HTTP client of an engine, with a connection for every request in flight.

aiohttp, as in vLLM's own benchmarks. openai's client goes through the prompt's token ids one by one: where prompts are
long and answers short, it sets the pace and not the engine.
"""

import contextlib
import http.client
import json
import resource
import socket
import urllib.error
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from pacos.errors import ConfigError
from pacos.serving.address import http_url, proxy_of, socket_path

SPARE_FILES = 256  # what a process has open besides its connections
# vLLM closes a connection that was idle for 5 s; a request sent at that moment would be lost.
KEEP_ALIVE_S = 3
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500


class NoAnswer(Exception):
    """A failure that may pass: no connection, a broken one, a timeout, or a server too busy or in trouble."""


def send(url: str, key: str, body: Mapping[str, object] | None = None, *, timeout_s: float = 60) -> tuple[int, str]:
    """(status, text) of a GET, or of a POST where there is a body; blocks. Raises OSError when nothing answers.

    Redirections are not followed: the key is for this server alone.
    """
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    try:
        if path := socket_path(url):
            return _send_to_socket(path, http_url(url), headers, data, timeout_s)
        return _send_to_host(Request(url, data, headers), timeout_s)
    except (http.client.HTTPException, ValueError) as broken:  # ValueError: the URL is none
        raise OSError(f"{type(broken).__name__}: {broken}") from broken


def _send_to_host(request: Request, timeout_s: float) -> tuple[int, str]:
    proxy = proxy_of(request.full_url)
    opener = build_opener(ProxyHandler({request.type: proxy} if proxy else {}), _NoRedirect)
    try:
        with opener.open(request, timeout=timeout_s) as answer:
            return answer.status, answer.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode("utf-8", "replace")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave the redirection as the answer."""


def _send_to_socket(
    path: str, url: str, headers: Mapping[str, str], data: bytes | None, timeout_s: float
) -> tuple[int, str]:
    with contextlib.closing(_SocketConnection(path, timeout_s)) as connection:
        connection.request("GET" if data is None else "POST", urlsplit(url).path, data, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "replace")


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Posts JSON. It does not retry: the engine does, where a dead server can be told from a busy one."""

    def __init__(self, url: str, key: str, *, connections: int, timeout_s: float) -> None:
        """Raises ConfigError where the system does not let this process open so many files."""
        import aiohttp

        _allow_open_files(connections + SPARE_FILES)
        self._url = http_url(url)
        path = socket_path(url)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path, limit=connections, keepalive_timeout=KEEP_ALIVE_S)
            if path
            else aiohttp.TCPConnector(limit=connections, keepalive_timeout=KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            proxy=proxy_of(url),  # aiohttp would look again for every request
        )

    async def post(self, path: str, body: Mapping[str, Any]) -> tuple[int, str]:
        """(status, text). Raises NoAnswer."""
        import aiohttp

        try:
            data = json.dumps(body).encode()
            # A redirection would take the key and the prompt elsewhere.
            async with self._session.post(f"{self._url}{path}", data=data, allow_redirects=False) as answer:
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
