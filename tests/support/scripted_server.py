"""An OpenAI-compatible completions server whose answer is a pure function of (prompt ids, seed).

The permitted instrument for crash and ordering tests, where an engine must repeat itself. Real HTTP on 127.0.0.1.

    with ScriptedServer(answer=my_answer, delay=my_delay) as server:
        EngineConfig(url=server.url)
"""

import contextlib
import hashlib
import json
import random
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import SHUT_RDWR
from types import TracebackType
from typing import Any, Self

from pacos.serving.address import socket_url

Prompt = tuple[int, ...]

VERBS = ["Describe", "List", "Explain", "Rewrite", "Compare", "Classify", "Name", "Summarise"]
SYLLABLES = ["ba", "de", "fi", "go", "ku", "la", "me", "ni", "po", "ru", "sa", "te"]


def list_answer(prompt: Prompt, seed: int | None) -> tuple[str, str]:
    """(text, finish reason) of a list of eight tasks: some repeat each other, some break rules, some are cut."""
    draw = random.Random(hashlib.sha256(json.dumps([prompt, seed]).encode()).hexdigest())
    items = []
    for number in range(4, 12):
        nouns = ["".join(draw.choices(SYLLABLES, k=3)) for _ in range(4)]
        kinds = [
            "Name a lake.",
            "Describe one lake in the north of the land.",
            f"{draw.choice(VERBS)} {' '.join(nouns)}.",
        ]
        instruction = draw.choices(kinds, weights=[1, 1, 6])[0]
        items.append(f" {instruction}\n{number}. Input:\n<noinput>\n{number}. Output:\nAnswer {draw.random()}\n")
    text = "###\n".join(f"{number}. Instruction:{item}" for number, item in enumerate(items, 4))
    text = text.removeprefix("4. Instruction:")
    return (text, "stop") if draw.random() < 0.8 else (text[: len(text) * 2 // 3], "length")


class ScriptedServer:
    """Serves until the `with` block ends, or until it is killed. `asked` lists the prompts as they arrive, `loaded` the
    adapters.

    `delay` gives seconds by prompt; `status` gives an HTTP status by arrival number (200 answers, others fail). With
    `socket` it listens there instead of on a port; `port` 0 is a free one.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Prompt, int | None], tuple[str, str]] = list_answer,
        delay: Callable[[Prompt], float] = lambda prompt: 0.0,
        status: Callable[[int], int] = lambda arrival: 200,
        max_model_len: int = 4096,
        model: str = "scripted",
        socket: Path | None = None,
        port: int = 0,
    ) -> None:
        self.answer, self.delay, self.status = answer, delay, status
        self.max_model_len, self.model = max_model_len, model
        self.asked: list[Prompt] = []
        self.loaded: list[str] = []
        self.connections: set[Any] = set()
        self.bodies: list[dict[str, Any]] = []
        self.on_arrival: Callable[[int], None] = lambda arrival: None
        self._lock = threading.Lock()
        self._http: _QuietServer | _SocketServer
        if socket:
            self._http, self.url = _SocketServer(str(socket), _handler(self)), socket_url(socket)
        else:
            self._http = _QuietServer(("127.0.0.1", port), _handler(self))
            self.url = f"http://127.0.0.1:{self._http.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def complete(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        prompt = tuple(body["prompt"])
        with self._lock:
            self.asked.append(prompt)
            self.bodies.append(body)
            arrival = len(self.asked)
        self.on_arrival(arrival)
        if (status := self.status(arrival)) != 200:
            return status, {"error": {"message": f"scripted failure {status}"}}
        time.sleep(self.delay(prompt))
        text, finish_reason = self.answer(prompt, body.get("seed"))
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(text.split())}
        choice = {"index": 0, "text": text, "finish_reason": finish_reason, "logprobs": None}
        if "prompt_logprobs" in body:
            choice["prompt_logprobs"] = [None, *({str(id): {"logprob": self._logprob(body, id)}} for id in prompt[1:])]
        answer = {"id": "x", "object": "text_completion", "created": 0, "model": "scripted", "choices": [choice]}
        return 200, {**answer, "usage": usage | {"total_tokens": sum(usage.values())}}

    @staticmethod
    def _logprob(body: dict[str, Any], id: int) -> float:
        """Another for each adapter, so that it is seen to be served."""
        return -hashlib.sha256(f"{body['model']} {id}".encode()).digest()[0] / 16

    @property
    def port(self) -> int:
        """The port that it listens on, or listened on."""
        return int(self.url.rpartition(":")[2].partition("/")[0])

    def kill(self) -> None:
        """End it as kill -9 does: nothing listens any more, and every connection breaks."""
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._http.server_close()


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that was killed leaves its connection broken; that is the point of the test."""


class _SocketServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128


def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.connections.add(self.connection)

        def finish(self) -> None:
            server.connections.discard(self.connection)
            super().finish()

        def do_GET(self) -> None:
            model = {"id": server.model, "object": "model", "max_model_len": server.max_model_len}
            self._reply(200, {"object": "list", "data": [model]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if loads := self.path.endswith("/load_lora_adapter"):
                server.loaded.append(body["lora_name"])
            self._reply(*((200, {}) if loads else server.complete(body)))

        def _reply(self, status: int, content: dict[str, Any]) -> None:
            payload = json.dumps(content).encode()
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
