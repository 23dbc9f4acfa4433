"""The HTTP client of an engine, with a connection for every request in flight.

aiohttp, as in vLLM's own benchmarks. openai's client goes through the prompt's token ids one by one: where prompts are
long and answers short, it sets the pace and not the engine.
"""

import contextlib
import email.utils
import http.client
import json
import resource
import socket
import time
import urllib.error
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, ProxyHandler, Request, build_opener

from pacos.errors import ConfigError, EngineError
from pacos.serving.address import http_url, proxy_of, socket_path
from pacos.serving.replies import REPLY_BYTES, message

SPARE_FILES = 256  # what a process has open besides its connections
# vLLM closes a connection that was idle for 5 s; a request sent at that moment would be lost.
KEEP_ALIVE_S = 3
SPARE_CONNECTIONS = 2  # for other questions than completions, which must not wait behind them
CONNECT_S = 30
# A server sends a completion when it has all of it; the reply itself takes no time.
BODY_S = 60
SHORT_S = 60  # for a request that takes no computing
LONGEST_WAIT_S = 300.0
OK, SERVER_ERROR = 200, 500
# Request timeout, conflict, too early, too many requests.
MAY_PASS = (408, 409, 425, 429)


class NoAnswer(Exception):
    """A failure that may pass: no connection, a broken one, a timeout, or a server too busy or in trouble.

    `is_slow` tells a timeout, which is not waited for as often; the server asks to be left alone for `retry_after_s`.
    """

    def __init__(self, reason: str, *, is_slow: bool = False, retry_after_s: float = 0.0) -> None:
        super().__init__(reason)
        self.is_slow = is_slow
        self.retry_after_s = retry_after_s


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
            return answer.status, answer.read(REPLY_BYTES).decode("utf-8", "replace")
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read(REPLY_BYTES).decode("utf-8", "replace")


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Leave the redirection as the answer."""


def _send_to_socket(
    path: str, url: str, headers: Mapping[str, str], data: bytes | None, timeout_s: float
) -> tuple[int, str]:
    with contextlib.closing(_SocketConnection(path, timeout_s)) as connection:
        connection.request("GET" if data is None else "POST", urlsplit(url).path, data, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read(REPLY_BYTES).decode("utf-8", "replace")


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
    """Sends requests and reads replies within bounds of time and size. It does not retry: the engine does, where a dead
    server can be told from a busy one."""

    def __init__(self, url: str, key: str, *, connections: int, timeout_s: float) -> None:
        """`timeout_s` is for one request, its reply included. Raises ConfigError where the system does not let this
        process open so many files."""
        import aiohttp

        _allow_open_files(connections + SPARE_FILES)
        self._shown, self._timeout_s = url, timeout_s
        self._url = http_url(url)
        path = socket_path(url)
        limit = connections + SPARE_CONNECTIONS
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(path, limit=limit, keepalive_timeout=KEEP_ALIVE_S)
            if path
            else aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEP_ALIVE_S),
            headers={
                "Authorization": f"Bearer {key}",
                "Content-Type": "application/json",
                "Accept-Encoding": "identity",
            },
            proxy=proxy_of(url),  # aiohttp would look again for every request
            auto_decompress=False,  # a small reply may unpack to more than the memory holds
        )

    async def get(self, path: str) -> tuple[int, str]:
        """(status, text). Raises NoAnswer and EngineError as `post`."""
        return await self._request("GET", f"{self._url}{path}", None, REPLY_BYTES, SHORT_S)

    async def health(self) -> None:
        """Ask /health, which is beside /v1. Raises NoAnswer where its status is 500 or more, or none comes."""
        await self._request("GET", f"{self._url.removesuffix('/v1')}/health", None, REPLY_BYTES, SHORT_S)

    async def post(
        self, path: str, body: Mapping[str, Any], *, largest: int = REPLY_BYTES, timeout_s: float | None = None
    ) -> tuple[int, str]:
        """(status, text). `largest` is the most bytes that a reply may have.

        Raises NoAnswer for what may pass, EngineError for a reply that is larger, compressed, or not UTF-8.
        """
        data = json.dumps(body).encode()
        return await self._request(
            "POST", f"{self._url}{path}", data, largest, self._timeout_s if timeout_s is None else timeout_s
        )

    async def _request(
        self, method: str, url: str, data: bytes | None, largest: int, timeout_s: float
    ) -> tuple[int, str]:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        try:
            # A redirection would take the key and the prompt elsewhere.
            async with self._session.request(method, url, data=data, allow_redirects=False, timeout=timeout) as answer:
                content = await self._read(answer, largest)
        except TimeoutError as failure:
            raise NoAnswer(str(failure) or f"no reply within {timeout_s:g} s", is_slow=True) from None
        except aiohttp.ServerDisconnectedError as failure:
            raise NoAnswer("the server closed the connection") from failure
        except (aiohttp.ClientError, OSError, UnicodeError) as failure:
            raise NoAnswer(f"{type(failure).__name__}: {failure}".rstrip(": ")) from failure
        if answer.status in MAY_PASS or answer.status >= SERVER_ERROR:
            reason = message(content.decode("utf-8", "replace"))
            raise NoAnswer(f"{answer.status}: {reason}", retry_after_s=_retry_after(answer.headers.get("Retry-After")))
        return answer.status, self._text(answer.status, content)

    async def _read(self, answer: Any, largest: int) -> bytes:
        """The body of a reply, as long as it is no larger than it may be."""
        if (coding := answer.headers.get("Content-Encoding", "identity").lower()) != "identity":
            raise EngineError(
                f"the reply is compressed ({coding}), which was not asked for",
                where=self._shown,
                todo="have the server, or the proxy before it, send plain replies",
            )
        content, deadline = bytearray(), time.monotonic() + BODY_S
        async for part in answer.content.iter_any():
            content += part
            if time.monotonic() > deadline:
                raise NoAnswer(f"its reply did not end within {BODY_S} s", is_slow=True)
            if len(content) > largest:
                raise EngineError(
                    f"the reply has more than {largest:,} bytes, which is more than was asked for",
                    where=self._shown,
                    todo="check that an OpenAI-compatible completions server answers there",
                )
        return bytes(content)

    def _text(self, status: int, content: bytes) -> str:
        try:
            return content.decode("utf-8", "strict" if status == OK else "replace")
        except UnicodeDecodeError as broken:
            raise EngineError(f"the reply is not UTF-8: {broken.reason}", where=self._shown) from None

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


def _retry_after(header: str | None) -> float:
    """Seconds of a Retry-After header, which is a number of them or a date; LONGEST_WAIT_S at most, 0 without one."""
    if header is None:
        return 0.0
    if header.strip().isdecimal():
        seconds = float(header)
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), LONGEST_WAIT_S)


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
