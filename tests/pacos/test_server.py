"""Starts of our own server that come to nothing: an error that says why, and nothing left of them."""

import asyncio
import json
import shutil
import threading
import time
import types
from pathlib import Path

import psutil
import pytest

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.errors import EngineError, RunError
from pacos.serving.address import private_folder
from pacos.serving.completion import Sampling
from pacos.serving.connect import LENT_ENGINE, open_engine
from pacos.serving.server import ManagedServer
from tests.support.scripted_server import ScriptedServer


def server_of(base: Path, folder: Path) -> ManagedServer:
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    config = Config(name="x", model=ModelConfig(base=str(base), dtype="float32"))
    return ManagedServer.of(config, folder, str(base))


def children() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def test_a_server_whose_record_cannot_be_written_is_not_started(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "engine.json").mkdir()
    server, before = server_of(tiny_base, tmp_path), children()
    with pytest.raises(EngineError, match=r"engine\.json: cannot write: Is a directory; nothing was started") as error:
        server.start()
    assert "the folder is yours to write to" in str(error.value.todo)
    assert children() == before


def test_a_log_that_cannot_be_written_is_told(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "engine.log").mkdir()
    with pytest.raises(RunError, match=r"engine\.log: cannot write"):
        server_of(tiny_base, tmp_path).start()


def test_a_link_in_the_place_of_the_log_is_not_followed(tiny_base: Path, tmp_path: Path) -> None:
    target = tmp_path / "theirs.txt"
    target.write_text("theirs")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "engine.log").symlink_to(target)
    with pytest.raises(RunError, match=r"engine\.log: cannot write[\s\S]*it is a link"):
        server_of(tiny_base, tmp_path / "run").start()
    assert target.read_text() == "theirs"


def test_a_server_that_a_full_disk_ends_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=0))
    server = ManagedServer({}, tmp_path, timeout_s=0, in_flight=1)
    with pytest.raises(EngineError, match="the disk is full: make space"):
        server.start()


def test_of_an_engine_that_failed_its_error_is_shown_and_not_the_shutting_down_behind_it(tmp_path: Path) -> None:
    error = ["(EngineCore pid=7) ERROR 11-30 05:56:47 [core.py:1512] EngineCore encountered a fatal error."]
    error += [
        "(EngineCore pid=7) ERROR 11-30 05:56:47 [core.py:1512] main.cpp:46:10: fatal error: Python.h: No such file"
    ]
    shutting_down = [" - leaked function"] * 100
    (tmp_path / "engine.log").write_text("\n".join(["INFO: started", *error, *shutting_down]), encoding="utf-8")
    tail = ManagedServer({}, tmp_path, timeout_s=0, in_flight=1).log_tail()
    assert tail.splitlines() == [f"    {line}" for line in error]


def test_a_server_that_is_closed_while_it_starts_ends_at_once(tiny_base: Path, tmp_path: Path) -> None:
    server, before, failures = server_of(tiny_base, tmp_path), children(), list[EngineError]()

    def start() -> None:
        try:
            server.start()
        except EngineError as failure:
            failures.append(failure)

    starting = threading.Thread(target=start)
    starting.start()
    while not (tmp_path / "engine.json").exists():
        time.sleep(0.05)
    server.close()
    starting.join(60)
    assert not starting.is_alive() and "ended while starting" in str(failures[0])
    assert children() == before and not (tmp_path / "engine.json").exists()
    with pytest.raises(EngineError, match="ended while starting"):
        server.start()


def test_a_lent_server_is_reached_by_its_socket(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask() -> str:
        config = Config(name="x", model=ModelConfig(base=str(tiny_base)), engine=EngineConfig())
        async with open_engine(config, tmp_path) as engine:
            return (await engine.complete([1, 30], Sampling(max_tokens=4))).text

    folder = private_folder()
    with ScriptedServer(socket=folder / "s") as server:
        lent = {"model": str(tiny_base), "url": server.url, "key": "k"}
        monkeypatch.setenv(LENT_ENGINE, json.dumps(lent))
        assert asyncio.run(ask()) and len(server.asked) == 1
    shutil.rmtree(folder)
    assert not (tmp_path / "engine.log").exists()
