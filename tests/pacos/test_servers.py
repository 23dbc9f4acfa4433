"""Several servers behind one engine: the load is spread, one that goes away is left, and taken back when it returns."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from pacos.config import Config, EngineConfig, ModelConfig, parse_config
from pacos.errors import ConfigError, EngineError, ModelError
from pacos.serving import engine as engine_module
from pacos.serving import servers as servers_module
from pacos.serving.adapter_check import check_adapters
from pacos.serving.completion import Sampling
from pacos.serving.connect import open_engine
from pacos.serving.cost import price_per_hour
from pacos.serving.engine import Engine
from tests.support.generated_run import experiment, generate
from tests.support.scripted_server import Prompt, ScriptedServer

SHORT = Sampling(max_tokens=4)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers_module, "RETURN_S", (0.05, 0.1))
    monkeypatch.setattr(servers_module, "PATIENCE_S", 2)
    monkeypatch.setattr(servers_module, "WATCH_S", 0.1)


@contextlib.asynccontextmanager
async def engine_on(base: Path, *urls: str, in_flight: int = 6, **settings: object) -> AsyncIterator[Engine]:
    engine = EngineConfig.model_validate({"url": list(urls), "max_in_flight": in_flight, **settings})
    config = Config(name="servers", model=ModelConfig(base=str(base)), engine=engine)
    async with open_engine(config, base / "nowhere") as opened:
        yield opened


async def ask(engine: Engine, count: int, first: int = 0) -> list[str]:
    answers = (engine.complete([1, first + at], SHORT) for at in range(count))
    return [answer.text for answer in await asyncio.gather(*answers)]


async def until(engine: Engine, happened: Callable[[], bool]) -> None:
    """Ask again and again, 60 times at most, until it has happened."""
    for batch in range(60):
        await ask(engine, 6, first=100 * batch)
        if happened():
            return
    raise AssertionError("it never happened")


def slow(prompt: Prompt) -> float:
    return 0.05


def test_requests_are_spread_evenly_over_servers_of_one_speed(tiny_base: Path) -> None:
    async def work(*urls: str) -> list[str]:
        async with engine_on(tiny_base, *urls) as engine:
            return await ask(engine, 60)

    with ScriptedServer(delay=slow) as one, ScriptedServer(delay=slow) as two, ScriptedServer(delay=slow) as three:
        assert len(asyncio.run(work(one.url, two.url, three.url))) == 60
        shares = [len(server.asked) for server in (one, two, three)]
    assert sum(shares) == 60 and min(shares) >= 12


def test_a_fast_server_gets_more_requests_than_a_slow_one(tiny_base: Path) -> None:
    async def work(*urls: str) -> list[str]:
        async with engine_on(tiny_base, *urls) as engine:
            return await ask(engine, 40)

    with ScriptedServer(delay=lambda prompt: 0.3) as tired, ScriptedServer(delay=lambda prompt: 0.02) as fresh:
        asyncio.run(work(tired.url, fresh.url))
        assert len(fresh.asked) > 2 * len(tired.asked) > 0


def test_what_a_killed_server_owed_is_asked_of_the_others(tiny_base: Path) -> None:
    async def work(*urls: str) -> list[str]:
        async with engine_on(tiny_base, *urls) as engine:
            return await ask(engine, 60)

    with ScriptedServer(delay=slow) as one, ScriptedServer(delay=slow) as two, ScriptedServer(delay=slow) as doomed:
        doomed.on_arrival = lambda arrival: threading.Thread(target=doomed.kill).start() if arrival == 5 else None
        answers = asyncio.run(work(one.url, doomed.url, two.url))
        assert answers == asyncio.run(work(one.url)), "each prompt has its own answer, whoever gave it"
        assert len(doomed.asked) < 12


def test_a_server_that_returns_gets_adapters_before_it_gets_requests(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "read_adapter_config", lambda path: {})
    monkeypatch.setattr(engine_module, "served_name", lambda path: "adapter-a")

    async def work(steady: ScriptedServer, first: ScriptedServer) -> None:
        async with engine_on(tiny_base, steady.url, first.url) as engine:
            await engine.add_adapters({"a": tmp_path})
            assert steady.loaded == first.loaded == ["adapter-a"]
            first.kill()
            await ask(engine, 6)
            with ScriptedServer(port=first.port, delay=slow) as second:
                loaded_at: list[int] = []
                second.on_arrival = lambda arrival: loaded_at.append(len(second.loaded))
                await until(engine, lambda: bool(second.asked))
                assert min(loaded_at) == 1

    with ScriptedServer(delay=slow) as steady:
        first = ScriptedServer(delay=slow).__enter__()
        asyncio.run(work(steady, first))


def test_a_server_that_is_late_joins_in(tiny_base: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def work(early: str, later: ScriptedServer) -> None:
        async with engine_on(tiny_base, later.url, early) as engine:
            await ask(engine, 4)
            with ScriptedServer(delay=slow, port=later.port) as late:
                await until(engine, lambda: bool(late.asked))

    with ScriptedServer() as not_yet:
        not_yet.kill()
        with ScriptedServer(delay=slow) as early:
            asyncio.run(work(early.url, not_yet))
    assert f"127.0.0.1:{not_yet.port}/v1 is away" in caplog.text


def test_a_run_ends_when_all_servers_are_gone(tiny_base: Path) -> None:
    async def work(*servers: ScriptedServer) -> None:
        async with engine_on(tiny_base, *(server.url for server in servers)) as engine:
            for server in servers:
                server.kill()
            await ask(engine, 3)

    one, two = ScriptedServer().__enter__(), ScriptedServer().__enter__()
    with pytest.raises(EngineError, match=f"none of the 2 servers answers: .*{one.port}.*{two.port}"):
        asyncio.run(work(one, two))


def test_no_server_at_the_start_is_told_with_every_address(tiny_base: Path) -> None:
    async def work() -> None:
        async with engine_on(tiny_base, "http://127.0.0.1:9/v1", "http://127.0.0.1:7/v1"):
            pass

    with pytest.raises(EngineError, match=r"127.0.0.1:9/v1, http://127.0.0.1:7/v1: no server answers"):
        asyncio.run(work())


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"model": "other"}, r"serves (other, and .* serves scripted|scripted, and .* serves other)"),
        ({"max_model_len": 64}, "64"),
    ],
)
def test_servers_of_different_models_are_refused_with_both_names(
    tiny_base: Path, other: dict[str, object], told: str
) -> None:
    async def work(*urls: str) -> None:
        async with engine_on(tiny_base, *urls):
            pass

    with (
        ScriptedServer() as one,
        ScriptedServer(**other) as two,  # type: ignore[arg-type]
        pytest.raises(EngineError, match=told),
    ):
        asyncio.run(work(one.url, two.url))


def test_a_server_that_returns_with_another_model_gets_nothing(
    tiny_base: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(steady: ScriptedServer, first: ScriptedServer) -> int:
        async with engine_on(tiny_base, steady.url, first.url) as engine:
            first.kill()
            await ask(engine, 6)
            with ScriptedServer(port=first.port, model="other") as second:
                for _ in range(20):
                    await ask(engine, 6)
                    await asyncio.sleep(0.02)
                return len(second.asked)

    with ScriptedServer(delay=slow) as steady:
        assert asyncio.run(work(steady, ScriptedServer(delay=slow).__enter__())) == 0
    assert "is left out from here on" in caplog.text and "serves other" in caplog.text


def test_a_server_that_falls_silent_without_closing_is_left(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its machine is off: connections stay open, and its health cannot be asked for."""
    never = threading.Event()

    async def work(steady: ScriptedServer, dead: ScriptedServer) -> list[str]:
        async with engine_on(tiny_base, steady.url, dead.url) as engine:
            unwell = engine._servers.all[1]

            async def no_health() -> str:
                return "no reply within 60 s"

            monkeypatch.setattr(unwell, "trouble", no_health)
            return await asyncio.wait_for(ask(engine, 20), 20)

    def hang(prompt: Prompt) -> float:
        never.wait(30)
        return 0.0

    with ScriptedServer() as steady, ScriptedServer(delay=hang) as dead:
        assert len(asyncio.run(work(steady, dead))) == 20
        never.set()


def test_the_dataset_does_not_depend_on_how_many_servers_wrote_it(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer() as one, ScriptedServer(delay=slow) as two, ScriptedServer() as doomed:
        alone = generate(experiment(tmp_path, tiny_base, one.url, None, name="alone"))
        config = experiment(tmp_path, tiny_base, one.url, None, name="three")
        urls = [doomed.url, one.url, two.url]
        doomed.on_arrival = lambda arrival: threading.Thread(target=doomed.kill).start() if arrival == 3 else None
        three = config.model_copy(update={"engine": config.engine.model_copy(update={"url": urls})})
        assert generate(three) == alone
        assert two.asked and len(doomed.asked) >= 3


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ([], "an address at least"),
        (["http://a/v1", "http://a/v1/"], "has an address twice"),
        (["http://a/v1", "ftp://b"], "must be an address"),
        (["http://user:secret@a/v1", 5], "must be an address"),
    ],
)
def test_a_list_of_addresses_is_checked(url: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        parse_config({"name": "x", "model": {"base": "b"}, "engine": {"url": url}}, where="test")
    assert "secret" not in str(refused.value)


class IgnoresAdapters(ScriptedServer):
    """Loads adapters, and answers as the base whatever is asked for."""

    @staticmethod
    def _logprob(body: dict[str, object], id: int) -> float:
        return ScriptedServer._logprob({**body, "model": "scripted"}, id)


def test_each_server_is_checked_to_answer_with_the_adapter(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "read_adapter_config", lambda path: {})
    monkeypatch.setattr(engine_module, "served_name", lambda path: "adapter-a")

    async def check(*urls: str) -> float:
        async with engine_on(tiny_base, *urls) as engine:
            await engine.add_adapters({"a": tmp_path})
            found = await check_adapters(engine, ["a"], [[1, 40 + at, 50 + at] for at in range(8)])
            return found["a"].largest_difference

    with ScriptedServer() as one, ScriptedServer() as two, IgnoresAdapters() as deaf:
        assert asyncio.run(check(one.url, two.url)) > 0
        with pytest.raises(ModelError, match="answers as the base does"):
            asyncio.run(check(one.url, deaf.url))


def test_every_server_is_paid_for() -> None:
    prices = {"price_per_gpu_hour": 2.5, "data_parallel": 4}
    engine = EngineConfig.model_validate({"url": ["http://a/v1", "http://b/v1"], **prices})
    assert price_per_hour(engine) == 2.5 * 4 * 2
