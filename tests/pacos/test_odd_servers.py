"""Servers that are silent, slow, busy, or send too much: time and memory are bounded, and the reason is told."""

import asyncio
import email.utils
import gzip
import json
import socketserver
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from pacos.config import EngineConfig
from pacos.errors import EngineError
from pacos.serving import client as client_module
from pacos.serving import engine as engine_module
from pacos.serving.client import LONGEST_WAIT_S, Client, NoAnswer
from pacos.serving.completion import Completion, Sampling
from pacos.serving.endpoint import ServerAddress
from pacos.serving.engine import Engine
from tests.support.scripted_server import ScriptedServer

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
ANSWER = json.dumps(
    {
        "choices": [{"text": "yes", "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1},
    }
).encode()


class OddServer(socketserver.ThreadingTCPServer):
    """Reads requests, counts them, and has `reply` write what comes back to the socket."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, reply: Callable[[Any], None]) -> None:
        self.arrivals: list[float] = []
        self.ended = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                server.arrivals.append(time.monotonic())
                try:
                    reply(self)
                except OSError:
                    return  # the client has had enough
                finally:
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def stop(self) -> None:
        self.ended.set()
        self.shutdown()
        self.server_close()


@pytest.fixture
def odd_server() -> Iterator[Callable[[Callable[[Any], None]], OddServer]]:
    servers: list[OddServer] = []

    def start(reply: Callable[[Any], None]) -> OddServer:
        servers.append(OddServer(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def sends(content: bytes, headers: bytes = b"", status: bytes = b"200 OK") -> Callable[[Any], None]:
    head = b"HTTP/1.1 " + status + b"\r\n" + headers + b"Content-Length: %d\r\n\r\n" % len(content)
    return lambda request: request.wfile.write(head + content)


def ask(url: str, settings: EngineConfig | None = None, requests: int = 1) -> list[Completion]:
    async def work() -> list[Completion]:
        engine = Engine(settings or EngineConfig(url=url), None, ServerAddress(url, "k"), None, in_flight=requests)
        try:
            asked: list[Awaitable[Completion]] = [engine.complete([1, n], Sampling(4)) for n in range(requests)]
            return list(await asyncio.gather(*asked))
        finally:
            await engine.close()

    return asyncio.run(work())


def test_an_answer_that_is_sent_at_once_is_read(odd_server: Callable[..., OddServer]) -> None:
    assert ask(odd_server(sends(ANSWER)).url)[0].text == "yes"


def test_a_compressed_reply_is_refused_unpacked(odd_server: Callable[..., OddServer]) -> None:
    bomb = gzip.compress(b" " * 300_000_000, 1)
    server = odd_server(sends(bomb, b"Content-Encoding: gzip\r\n"))
    with pytest.raises(EngineError, match=r"compressed \(gzip\), which was not asked for"):
        ask(server.url)
    assert len(server.arrivals) == 1


def test_a_reply_larger_than_what_was_asked_for_is_not_read_to_its_end(odd_server: Callable[..., OddServer]) -> None:
    sent = 0

    def endless(request: Any) -> None:
        nonlocal sent
        request.wfile.write(HEAD + b"\r\n")
        while True:
            sent += request.wfile.write(b" " * 65_536)

    server = odd_server(endless)
    with pytest.raises(EngineError, match="more than 1,054,720 bytes"):  # 2**20 + 1024 * (2 + 4)
        ask(server.url)
    assert len(server.arrivals) == 1 and sent < 50_000_000


def test_a_reply_that_is_not_utf_8_is_refused(odd_server: Callable[..., OddServer]) -> None:
    with pytest.raises(EngineError, match="not UTF-8"):
        ask(odd_server(sends(ANSWER.replace(b"yes", b"\xff\xfe"))).url)


def test_a_silent_server_is_given_up_after_two_tries_with_the_reason(odd_server: Callable[..., OddServer]) -> None:
    server: OddServer = odd_server(lambda request: server.ended.wait(30))
    with pytest.raises(EngineError, match=r"after 2 tries: the server has replied to nothing for 1 s") as given_up:
        ask(server.url, EngineConfig(url=server.url, silence_timeout_s=1), requests=3)
    assert "engine.silence_timeout_s" in str(given_up.value)
    assert len(server.arrivals) <= 6


def test_a_server_that_answers_others_is_waited_for(odd_server: Callable[..., OddServer]) -> None:
    turn = threading.Lock()

    def one_after_another(request: Any) -> None:
        with turn:
            time.sleep(0.8)
            sends(ANSWER)(request)

    server = odd_server(one_after_another)
    answers = ask(server.url, EngineConfig(url=server.url, silence_timeout_s=3), requests=5)  # the last waits 4 s
    assert [answer.text for answer in answers] == ["yes"] * 5 and len(server.arrivals) == 5


def test_silence_is_measured_by_how_long_an_answer_may_be() -> None:
    settings = EngineConfig(url="http://host/v1")
    assert [settings.silence_s(tokens) for tokens in (4, 512, 100_000)] == [124, 632, 1800]
    assert EngineConfig(silence_timeout_s=7).silence_s(512) == 7


def test_a_reply_that_trickles_is_given_up(
    odd_server: Callable[..., OddServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "BODY_S", 0.3)
    monkeypatch.setattr(engine_module, "BACKOFF_S", (0.01, 0.01, 0.01))

    def trickle(request: Any) -> None:
        request.wfile.write(HEAD + b"Content-Length: 500\r\n\r\n")
        while not server.ended.wait(0.05):
            request.wfile.write(b" ")

    server = odd_server(trickle)
    with pytest.raises(EngineError, match=r"after 2 tries: its reply did not end within"):
        ask(server.url)


@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BACKOFF_S", (0.01, 0.01, 0.01))
    with ScriptedServer(status=lambda arrival: status if arrival < 3 else 200) as server:
        assert ask(server.url)[0].text
        assert len(server.asked) == 3


def test_tries_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "BACKOFF_S", (0.01, 0.01, 0.01))
    with ScriptedServer(status=lambda arrival: 503) as server:
        with pytest.raises(EngineError, match="after 4 tries: 503: scripted failure 503"):
            ask(server.url)
        assert len(server.asked) == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422])
def test_what_cannot_pass_is_not_tried_again(status: int) -> None:
    with ScriptedServer(status=lambda arrival: status) as server:
        with pytest.raises(EngineError, match=rf"refuses \({status}\): scripted failure"):
            ask(server.url)
        assert len(server.asked) == 1


def test_a_server_is_left_alone_for_as_long_as_it_asks(
    odd_server: Callable[..., OddServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "BACKOFF_S", (0.01, 0.01, 0.01))

    def busy_once(request: Any) -> None:
        first = len(server.arrivals) == 1
        (sends(b"", b"Retry-After: 1\r\n", b"429 Busy") if first else sends(ANSWER))(request)

    server = odd_server(busy_once)
    assert ask(server.url)[0].text == "yes"
    assert server.arrivals[1] - server.arrivals[0] >= 1


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [
        ("7", 7, 7),
        (200, 100, 200),
        (-100, 0, 0),
        ("99999999999", LONGEST_WAIT_S, LONGEST_WAIT_S),
        ("-5", 0, 0),
        ("soon", 0, 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(
    odd_server: Callable[..., OddServer], header: str | int, least: float, most: float
) -> None:
    if isinstance(header, int):
        header = email.utils.formatdate(time.time() + header, usegmt=True)
    server = odd_server(sends(b"", f"Retry-After: {header}\r\n".encode(), b"503 Busy"))

    async def post() -> None:
        client = Client(server.url, "k", connections=1, timeout_s=10)
        try:
            await client.post("/completions", {})
        finally:
            await client.close()

    with pytest.raises(NoAnswer) as busy:
        asyncio.run(post())
    assert least <= busy.value.retry_after_s <= most


def test_an_adapter_that_a_server_does_not_load_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module, "read_adapter_config", lambda path: {})
    monkeypatch.setattr(engine_module, "served_name", lambda path: "adapter-a")

    async def load() -> None:
        engine = Engine(EngineConfig(), None, ServerAddress("http://127.0.0.1:9/v1", "k"), None, in_flight=1)
        try:
            await engine.add_adapters({"a": tmp_path})
        finally:
            await engine.close()

    with pytest.raises(EngineError, match="does not load the adapter"):
        asyncio.run(load())
