"""The review server over raw sockets: requests that no browser sends."""

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from pacos.files import write_jsonl
from tests.support.review_server import ReviewServer

VOTE = {"rater": "ann", "item": "0001", "question": "preference", "answer": "left"}


class Wire:
    """Sends requests as written, and reads the status of the answer; 0 where the connection is cut."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        assert parts.port
        self.port, self.token = parts.port, parse_qs(parts.query)["token"][0]
        self.host = f"127.0.0.1:{self.port}"

    def send(self, content: bytes) -> int:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            try:
                connection.sendall(content)
                answer = connection.recv(65_536)
            except ConnectionError:
                return 0
        found = re.match(rb"HTTP/1\.1 (\d+)", answer)
        return int(found[1]) if found else 0

    def get(self, target: str = "/state?rater=a", *, host: str | None = None, more: str = "") -> int:
        named = self.host if host is None else host
        lines = f"GET {target} HTTP/1.1\r\nHost: {named}\r\nAuthorization: Bearer {self.token}\r\n{more}"
        return self.send(f"{lines}Connection: close\r\n\r\n".encode())

    def vote(self, body: bytes, more: str = "") -> int:
        length = "" if more else f"Content-Length: {len(body)}\r\n"
        head = (
            f"POST /vote HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Origin: http://{self.host}\r\nContent-Type: application/json\r\n{length}{more}Connection: close\r\n\r\n"
        )
        return self.send(head.encode() + body)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    folder: Path = tmp_path_factory.mktemp("sockets")
    rows = [{"id": "q", "instruction": "Say it.", "output": model, "model": model} for model in ("m1", "m2")]
    write_jsonl(folder / "answers.jsonl", rows)
    server = ReviewServer(str(folder / "answers.jsonl"), "--kind", "pairwise", log=folder / "log")
    yield Wire(server.address)
    server.kill()


def test_the_pages_own_requests_are_answered(wire: Wire) -> None:
    assert wire.get() == 200
    assert wire.get(host=f"LOCALHOST:{wire.port}") == wire.get(host=f"[::1]:{wire.port}") == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "evil.example@127.0.0.1", "127.0.0.1@evil.example", "127.0.0.1/evil",
     "[127.0.0.1", "127.0.0.1:99999999", "127.0.0.1:\u0661", "localhost.", "2130706433", "::1", "", "0.0.0.0"],
)  # fmt: skip
def test_a_host_of_any_other_form_is_refused(wire: Wire, host: str) -> None:
    assert wire.get(host=host) in (400, 403)


def test_two_hosts_or_the_address_of_another_are_refused(wire: Wire) -> None:
    assert wire.get(more="Host: evil.example\r\n") in (400, 403)
    assert wire.get("http://evil.example/state?rater=a") in (400, 403, 404)


@pytest.mark.parametrize(
    "body",
    [
        b"xx",
        b"[" * 60_000,
        b'{"rater": "\\ud800", "item": "0001", "question": "preference", "answer": "left"}',
        b'{"rater": "ann", "item": "0001", "answer": "note", "note": "\\ud800"}',
        b'{"rater": "ann", "item": "0001", "question": "preference", "answer": "left", "seconds": NaN}',
        b'{"rater": "ann", "\\ud800": 1}',
        b'{"rater": "ann", "seconds": ' + b"9" * 5000 + b"}",
        json.dumps(VOTE | {"rater": "a\x1b[2J"}).encode(),
    ],
)
def test_a_vote_of_any_other_form_is_refused(wire: Wire, body: bytes) -> None:
    assert wire.vote(body) in (400, 409, 422)


def test_a_body_of_two_lengths_is_refused(wire: Wire) -> None:
    chunked = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    for more in ("Content-Length: 10\r\nTransfer-Encoding: chunked\r\n", "Content-Length: -1\r\n"):
        assert wire.vote(chunked * 8 + b"0\r\n\r\n", more) in (0, 400, 403)
    assert wire.get() == 200
