"""Where a server is: hosts, Unix sockets, proxies that stand between, and the folder of our own socket."""

import asyncio
import errno
import logging
import os
import shutil
import socket
import stat
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pacos.config import Config, EngineConfig, ModelConfig, parse_config
from pacos.errors import ConfigError, EngineError
from pacos.serving.address import http_url, is_loopback, private_folder, proxy_of, socket_path, socket_url
from pacos.serving.client import Client, NoAnswer, send
from pacos.serving.completion import Sampling
from pacos.serving.connect import key_for, open_engine
from pacos.serving.cpu import Workload
from pacos.serving.engine_args import check_engine_args
from pacos.serving.flags import server_flags, to_arguments
from tests.support.scripted_server import ScriptedServer

PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


class Stranger(ThreadingHTTPServer):
    """A server that must hear nothing: it keeps what it hears, and answers as it is told."""

    def __init__(self, status: int = 502, location: str = "") -> None:
        self.heard: list[str] = []
        stranger = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                stranger.heard.append(f"{self.command} {self.path} {self.headers}")
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_GET = do_CONNECT = do_POST

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


@pytest.fixture
def stranger(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stranger]:
    """A stranger that the environment names as the proxy of everything."""
    server = Stranger()
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in PROXIES[:3]:
        monkeypatch.setenv(name, server.url)
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.8.9.1", "127.1", "::1", "::ffff:127.0.0.1", "0.0.0.0"],
)
def test_this_machine_has_many_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "models.example", "10.0.0.1", "localhost.example", "128.0.0.1", "::2"])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_loopback(host)


def test_requests_take_the_environments_proxy_but_for_this_machine(stranger: Stranger) -> None:
    assert proxy_of("http://models.example:8000/v1") == stranger.url
    for url in (
        "http://127.0.0.1:8000/v1",
        "http://localhost:1/v1",
        "http://[::1]:1/v1",
        socket_url(Path("vllm.sock")),
    ):
        assert proxy_of(url) is None


def test_the_environment_may_except_hosts_from_its_proxy(stranger: Stranger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", ".inside")
    assert proxy_of("http://node7.inside/v1") is None
    assert proxy_of("https://models.example/v1") == stranger.url


def test_a_proxy_hears_nothing_of_what_is_sent_on_this_machine(
    stranger: Stranger, tiny_base: Path, tmp_path: Path
) -> None:
    async def ask(url: str) -> str:
        config = Config(name="x", model=ModelConfig(base=str(tiny_base)), engine=EngineConfig(url=url))
        async with open_engine(config, tmp_path) as engine:
            return (await engine.complete([1, 30], Sampling(max_tokens=4))).text

    with ScriptedServer() as server:
        assert asyncio.run(ask(server.url))
        assert len(server.asked) == 1
    assert not stranger.heard


def test_a_redirection_takes_neither_key_nor_prompt_elsewhere() -> None:
    other = Stranger()
    first = Stranger(307, other.url)

    async def post() -> int:
        client = Client(first.url, "the-key", connections=1, timeout_s=10)
        try:
            return (await client.post("/completions", {"prompt": [1]}))[0]
        finally:
            await client.close()

    assert send(first.url, "the-key")[0] == 307
    assert send(first.url, "the-key", {"prompt": [1]})[0] == 307
    assert asyncio.run(post()) == 307
    assert len(first.heard) == 3 and not other.heard


def test_an_engine_on_a_unix_socket_answers_as_one_on_a_port(
    tiny_base: Path, tmp_path: Path, stranger: Stranger
) -> None:
    async def ask(url: str, in_flight: int) -> list[str]:
        engine_config = EngineConfig(url=url, max_in_flight=in_flight)
        config = Config(name="x", model=ModelConfig(base=str(tiny_base)), engine=engine_config)
        async with open_engine(config, tmp_path) as engine:
            answers = [engine.complete([1, at], Sampling(max_tokens=4)) for at in range(in_flight)]
            return [answer.text for answer in await asyncio.gather(*answers)]

    folder = private_folder()
    with ScriptedServer() as by_port, ScriptedServer(socket=folder / "s") as by_socket:
        assert by_socket.url == socket_url(folder / "s")
        assert asyncio.run(ask(by_socket.url, 100)) == asyncio.run(ask(by_port.url, 100))
        assert send(f"{by_socket.url}/models", "k")[0] == 200
    shutil.rmtree(folder)
    assert not stranger.heard


def test_a_socket_where_nobody_listens_is_no_answer(tmp_path: Path) -> None:
    url = socket_url(tmp_path / "s")

    async def post() -> None:
        client = Client(url, "k", connections=1, timeout_s=10)
        try:
            await client.post("/completions", {})
        finally:
            await client.close()

    with pytest.raises(OSError, match="No such file"):
        send(f"{url}/models", "k")
    with pytest.raises(NoAnswer):
        asyncio.run(post())


def test_a_sockets_url_keeps_its_path() -> None:
    path = Path("/tmp/A b%/ü.sock")
    assert socket_path(socket_url(path) + "/models") == str(path)
    assert http_url(socket_url(path) + "/models") == "http://localhost/v1/models"
    assert socket_path("http://host/v1") is None and http_url("http://host/v1") == "http://host/v1"


def test_only_this_user_can_enter_the_servers_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    old = os.umask(0)
    try:
        folder = private_folder()
    finally:
        os.umask(old)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700 and folder.stat().st_uid == os.getuid()
    assert not list(folder.iterdir())
    folder.rmdir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_reach_the_socket() -> None:
    folder = private_folder()
    with socket.socket(socket.AF_UNIX) as ours:
        ours.bind(str(folder / "s"))
        ours.listen()
        (folder / "s").chmod(0o777)
        child = os.fork()
        if not child:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os._exit(socket.socket(socket.AF_UNIX).connect_ex(str(folder / "s")))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == errno.EACCES
        with socket.socket(socket.AF_UNIX) as own:
            own.connect(str(folder / "s"))
    shutil.rmtree(folder)


def test_the_servers_folder_is_where_its_name_is_short_and_stays_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    shared = Path(tempfile.mkdtemp(dir="/tmp"))
    shared.chmod(0o777)  # without the sticky bit: others can rename what is in it
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(shared))
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    folder = private_folder()
    assert folder.parent == Path("/tmp")
    with socket.socket(socket.AF_UNIX) as longest:
        longest.bind(str(folder / ("x" * 36)))
    (folder / ("x" * 36)).unlink()
    folder.rmdir()
    shared.rmdir()


def test_where_no_folder_takes_sockets_the_error_says_what_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    monkeypatch.setattr(tempfile, "mkdtemp", lambda **_: str(tmp_path / "nowhere"))
    with pytest.raises(EngineError, match="no folder for the server's socket") as refusal:
        private_folder()
    assert refusal.value.where == "TMPDIR"


@pytest.mark.parametrize(
    "flag", ["host", "port", "uds", "api-key", "ssl-keyfile", "--port", "por", "uds=vllm.sock", "api"]
)
def test_an_experiment_cannot_say_where_our_server_listens_or_put_a_key_on_the_command_line(flag: str) -> None:
    for trusted in (False, True):
        with pytest.raises(ConfigError, match="takes no --"):
            check_engine_args({flag: "x"}, trusted=trusted)


@pytest.mark.parametrize(
    "flag",
    ["middleware", "middle", "--worker-cls", "config", "trust-remote-code", "compilation-config.backend", "model=evil"],
)
def test_flags_that_run_code_need_the_experiment_to_be_trusted_and_are_said(
    flag: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigError, match="run code") as refusal:
        check_engine_args({flag: "evil.Code"}, trusted=False)
    assert "model.trust_remote_code=true" in str(refusal.value) and str(refusal.value.where).startswith("engine.args.")
    check_engine_args({flag: "evil.Code"}, trusted=True)
    assert "engine.args." in caplog.text


def test_an_executor_may_be_one_of_vllms_but_no_class() -> None:
    check_engine_args({"distributed-executor-backend": "mp"}, trusted=False)
    with pytest.raises(ConfigError, match="run code"):
        check_engine_args({"distributed-executor-backend": "evil.Executor"}, trusted=False)


def test_a_value_is_never_read_as_a_flag() -> None:
    assert to_arguments({"seed": "--host=0.0.0.0"}) == ["--seed=--host=0.0.0.0"]


@pytest.mark.parametrize(
    "url",
    ["http://user:s3cret@host/v1", "https://s3cret@host/v1", "http://host/v1?api_key=s3cret", "http://host/v1#s3cret"],
)
def test_a_key_in_the_address_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError, match=r"`engine\.url`: must have no user") as refusal:
        parse_config({"name": "x", "model": {"base": "m"}, "engine": {"url": url}}, where="test")
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    "url", ["host:8000/v1", "ftp://host/v1", "http://", "http://a b/v1", "http://h:x/v1", "file:///x"]
)
def test_an_address_that_is_none_is_refused_before_anything_starts(url: str) -> None:
    with pytest.raises(ConfigError, match=r"`engine\.url`"):
        parse_config({"name": "x", "model": {"base": "m"}, "engine": {"url": url}}, where="test")


@pytest.mark.parametrize("name", ["HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "PACOS_LENT_ENGINE"])
def test_no_other_secret_of_the_environment_can_be_named_as_the_servers_key(name: str) -> None:
    with pytest.raises(ConfigError, match="meant for a model server"):
        parse_config({"name": "x", "model": {"base": "m"}, "engine": {"api_key_env": name}}, where="test")


@pytest.mark.parametrize(
    ("url", "level", "said"),
    [
        ("https://models.example/v1", logging.INFO, "the key in $PACOS_NODE_KEY goes to https://models.example/v1"),
        ("http://127.0.0.1:8000/v1", logging.INFO, "the key in $PACOS_NODE_KEY goes to http://127.0.0.1:8000/v1"),
        ("http://models.example/v1", logging.WARNING, "unencrypted"),
    ],
)
def test_where_the_key_goes_is_said_before_it_goes(
    url: str, level: int, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PACOS_NODE_KEY", "the-key")
    caplog.set_level(logging.INFO, "pacos")
    assert key_for(url, "PACOS_NODE_KEY") == "the-key"
    assert [record.levelno for record in caplog.records] == [level]
    assert said in caplog.text and "the-key" not in caplog.text


def test_other_flags_of_the_server_are_the_users(tiny_base: Path) -> None:
    asked: dict[str, str | int | float | bool] = {"max-model-len": 256, "seed": 3, "uvicorn-log-level": "error"}
    asked |= {"data-parallel-size": 1, "hf-overrides": "{}", "served-model-name": "mine"}
    config = Config(name="run", model=ModelConfig(base=str(tiny_base)), engine=EngineConfig(args=asked))
    flags = server_flags(config, str(tiny_base), [], Workload(), 8)
    assert {name: flags[name] for name in asked} == asked
