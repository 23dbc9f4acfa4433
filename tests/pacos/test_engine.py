"""The door to the server, against the real vLLM (the scripted server plays only the failures)."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from pacos.config import Config, EngineConfig, ModelConfig
from pacos.errors import ConfigError, EngineError, ModelError
from pacos.serving.address import socket_path
from pacos.serving.completion import Completion, Sampling
from pacos.serving.connect import open_engine
from pacos.serving.cpu import Workload
from pacos.serving.endpoint import ServerAddress
from pacos.serving.engine import Engine
from pacos.serving.flags import Flags, parallel_flags, server_flags, to_arguments
from tests.support.scripted_server import Prompt, ScriptedServer

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30
Result = TypeVar("Result")


def experiment(base: Path, engine: EngineConfig) -> Config:
    return Config(name="engine", model=ModelConfig(base=str(base), dtype="float32"), engine=engine)


def with_engine(config: Config, run_dir: Path, work: Callable[[Engine], Awaitable[Result]]) -> Result:
    async def go() -> Result:
        async with open_engine(config, run_dir) as engine:
            return await work(engine)

    return asyncio.run(go())


async def nothing(engine: Engine) -> None:
    """For engines that do not open."""


def test_greedy_completions_repeat_at_any_concurrency(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path
) -> None:
    prompts = [[1, 30 + index, 40 + index] for index in range(40)]

    async def work(engine: Engine) -> list[str]:
        answers = [engine.complete(prompt, Sampling(max_tokens=16)) for prompt in prompts]
        return [answer.text for answer in await asyncio.gather(*answers)]

    together = with_engine(experiment(tiny_base, live_engine_config), tmp_path, work)
    single = live_engine_config.model_copy(update={"max_in_flight": 1})
    assert with_engine(experiment(tiny_base, single), tmp_path, work) == together


def test_a_completion_counts_tokens_and_names_why_it_ended(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path
) -> None:
    async def work(engine: Engine) -> tuple[Completion, int]:
        return await engine.complete([1, 30, 31], Sampling(max_tokens=7)), engine.max_model_len

    answer, context = with_engine(experiment(tiny_base, live_engine_config), tmp_path, work)
    assert (answer.prompt_tokens, answer.finish_reason, context) == (3, "length", 2048)
    assert answer.completion_tokens == 7


def test_prompt_logprobs_equal_the_models_own(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    ids = [1, 30, 85, 32, 74, 75]

    async def work(engine: Engine) -> list[float]:
        return await engine.prompt_logprobs(ids)

    served = with_engine(experiment(tiny_base, live_engine_config), tmp_path, work)
    model = AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        logprobs = model(torch.tensor([ids])).logits.log_softmax(-1)[0]
    expected = [logprobs[at, token].item() for at, token in enumerate(ids[1:])]
    assert served == pytest.approx(expected, abs=1e-4)


def test_a_refused_request_fails_at_once_with_the_servers_reason(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path
) -> None:
    async def work(engine: Engine) -> None:
        await engine.complete([1] * 3000, Sampling(max_tokens=1))

    with pytest.raises(EngineError, match="maximum context length is 2048"):
        with_engine(experiment(tiny_base, live_engine_config), tmp_path, work)


def test_a_wrong_key_names_the_variable_that_holds_it(
    tiny_base: Path, live_engine_config: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACOS_WRONG_KEY", "guess")
    engine = live_engine_config.model_copy(update={"api_key_env": "PACOS_WRONG_KEY"})
    with pytest.raises(EngineError, match="PACOS_WRONG_KEY"):
        with_engine(experiment(tiny_base, engine), tmp_path, nothing)


def test_a_url_where_nobody_answers_is_told_at_once(tiny_base: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(EngineError, match="no server answers"):
        with_engine(experiment(tiny_base, EngineConfig(url="http://127.0.0.1:9/v1")), tmp_path, nothing)
    assert time.monotonic() - began < 20


def test_a_port_for_our_own_server_is_refused_before_anything_starts(tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="takes no --port"):
        with_engine(experiment(tiny_base, EngineConfig(args={"port": 8000})), tmp_path, nothing)
    assert not (tmp_path / "engine.log").exists()


def test_our_server_is_reached_by_its_socket_alone(live_engine_config: EngineConfig) -> None:
    path = socket_path(str(live_engine_config.url))
    assert path and stat.S_IMODE(os.stat(Path(path).parent).st_mode) == 0o700
    holders = [process for process in psutil.process_iter() if path in _command_line(process)]
    assert holders
    for process in (holders[-1], *holders[-1].children(recursive=True)):
        listening = [one for one in process.net_connections("inet") if one.status == psutil.CONN_LISTEN]
        # torch's own, by which an engine's processes find one another
        assert all(one.laddr.ip in ("127.0.0.1", "::1") and process.name() != "python" for one in listening)


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_model_folder_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model folder"):
        with_engine(experiment(tmp_path / "nowhere", EngineConfig()), tmp_path, nothing)


def test_a_server_that_ends_while_starting_shows_its_last_lines(tiny_base: Path, tmp_path: Path) -> None:
    (tmp_path / "engine.log").write_text("(EngineCore pid=7) ERROR of an earlier start\n", encoding="utf-8")
    engine = EngineConfig(args={"no_such_flag": 1})
    with pytest.raises(EngineError, match=r"ended while starting[\s\S]*no-such-flag") as error:
        with_engine(experiment(tiny_base, engine), tmp_path, nothing)
    assert "of an earlier start" not in str(error.value)


def test_every_choice_of_the_server_is_ours(tiny_base: Path) -> None:
    arguments = to_arguments(
        server_flags(experiment(tiny_base, EngineConfig(args={"seed": 3})), str(tiny_base), [], Workload(), 32)
    )
    assert "--generation-config vllm" in " ".join(arguments)
    assert "--host" not in arguments and "--port" not in arguments
    assert "--trust-remote-code" not in arguments
    assert arguments[-2:] == ["--seed", "3"]


@pytest.mark.parametrize(
    ("wanted", "memories", "weights", "flags"),
    [
        ("auto", [], None, {}),
        ("auto", [80 * GIB], 16 * GIB, {}),
        ("auto", [80 * GIB] * 8, 16 * GIB, {"data-parallel-size": 8}),
        ("auto", [80 * GIB] * 8, 140 * GIB, {"tensor-parallel-size": 8}),
        ("auto", [80 * GIB] * 2, None, {"tensor-parallel-size": 2}),
        (4, [80 * GIB] * 8, 16 * GIB, {"data-parallel-size": 4}),
        (1, [80 * GIB] * 8, 16 * GIB, {}),
    ],
)
def test_gpus_hold_replicas_where_the_model_fits_one(
    wanted: int | str, memories: list[int], weights: int | None, flags: Flags
) -> None:
    assert parallel_flags(wanted, memories, weights) == flags


WORKER = """
import asyncio, sys, time
from pathlib import Path
from pacos.config import Config, EngineConfig, ModelConfig
from pacos.serving.completion import Sampling
from pacos.serving.connect import open_engine

async def main(base, run_dir):
    config = Config(name="orphan", model=ModelConfig(base=base, dtype="float32"),
                    engine=EngineConfig(args={"max_model_len": 1024}))
    async with open_engine(config, Path(run_dir)) as engine:
        print("up", flush=True)
        sampling = Sampling(max_tokens=900, temperature=1.0)
        answers = await asyncio.gather(*(engine.complete([1, 30, at], sampling) for at in range(60)))
        print("answered", len(answers), flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


def test_a_dead_server_is_replaced_and_kill_9_leaves_none_behind(tiny_base: Path, tmp_path: Path) -> None:
    pytest.importorskip("vllm", reason="needs vLLM: scripts/setup installs it")
    command = [sys.executable, "-c", WORKER, str(tiny_base), str(tmp_path)]
    owner = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert owner.stdout is not None
    try:
        assert owner.stdout.readline() == "up\n"
        time.sleep(0.5)  # requests are in flight now
        first = psutil.Process(owner.pid).children(recursive=True)
        engines = [process for process in first if process.name().startswith("VLLM")]
        assert engines, "no engine process found"
        for process in engines:
            os.kill(process.pid, signal.SIGKILL)
        assert owner.stdout.readline() == "answered 60\n"
        second = psutil.Process(owner.pid).children(recursive=True)
        assert {process.pid for process in second} - {process.pid for process in first}
    finally:
        family = psutil.Process(owner.pid).children(recursive=True)
        owner.kill()
        owner.wait()
    alive = psutil.wait_procs(family, timeout=30)[1]
    assert not alive
    assert not [process for process in psutil.process_iter() if process in family]


def test_more_requests_are_in_flight_together_than_a_client_library_allows_by_itself(
    tiny_base: Path, tmp_path: Path
) -> None:
    all_there = threading.Barrier(1001)

    async def work(engine: Engine) -> int:
        answers = [engine.complete([1, 30], Sampling(max_tokens=4)) for _ in range(all_there.parties)]
        return len(await asyncio.gather(*answers))

    def wait_for_all(prompt: Prompt) -> float:
        all_there.wait(timeout=60)
        return 0.0

    with ScriptedServer(delay=wait_for_all) as server:
        config = experiment(tiny_base, EngineConfig(url=server.url, max_in_flight=all_there.parties))
        assert with_engine(config, tmp_path, work) == 1001


class LivingServer:
    """Counts how often it is looked at."""

    looks = 0

    @property
    def is_alive(self) -> bool:
        self.looks += 1
        return True


def test_a_hundred_failures_of_one_moment_take_one_look_at_the_server(tiny_base: Path, tmp_path: Path) -> None:
    config = experiment(tiny_base, EngineConfig())
    server = LivingServer()

    async def work(url: str) -> list[str]:
        engine = Engine(config.engine, None, ServerAddress(url, "EMPTY"), server, in_flight=100)  # type: ignore[arg-type]
        answers = await asyncio.gather(*(engine.complete([1, at], Sampling(max_tokens=4)) for at in range(100)))
        await engine.close()
        return [answer.text for answer in answers]

    with ScriptedServer(status=lambda arrival: 503 if arrival <= 100 else 200) as scripted:
        assert len(asyncio.run(work(scripted.url))) == 100
    assert server.looks <= 2 * 20, "one look is twenty glances in two seconds"


def test_an_answer_that_is_no_completion_is_told(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(engine: Engine) -> None:
        await engine.complete([1, 30], Sampling(max_tokens=4))

    with ScriptedServer() as server:
        monkeypatch.setattr(server, "complete", lambda body: (200, {"object": "error"}))
        with pytest.raises(EngineError, match=r"not an OpenAI completion: .*error"):
            with_engine(experiment(tiny_base, EngineConfig(url=server.url)), tmp_path, work)
