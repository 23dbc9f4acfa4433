"""Many machines write what one would have written: shards of any speed, killed, lost, or started twice."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pacos.cli.commands import app
from pacos.config import Config, EngineConfig
from pacos.errors import ConfigError, RunError
from pacos.files import write_jsonl
from pacos.generate.curate_shards import curate_shards
from pacos.generate.shards import Shard, generate_shard, plan
from pacos.generate.union import journal_files
from pacos.runs import Run
from tests.support.generated_run import experiment, generate, jitter, stats_of
from tests.support.killed_run import generate_command, run_until_arrival
from tests.support.scripted_server import ScriptedServer

FILES = ("dataset.jsonl", "rejected.jsonl")
UNTIL = 40


def shards_of(config: Config, of: int = 8) -> list[Shard]:
    return [Shard(number, of) for number in range(1, of + 1)]


def journal_of(config: Config, shard: Shard) -> Path:
    return config.run_dir / "shards" / f"{shard.number}-of-{shard.of}" / "responses.jsonl"


def curated(config: Config, out: Path, workers: int = 1) -> dict[str, bytes]:
    folder = config.run_dir / "shards"
    curate_shards(journal_files([folder]), str(folder), out, config, workers)
    return {name: (out / name).read_bytes() for name in FILES}


def of_one_machine(config: Config) -> tuple[dict[str, bytes], dict[str, Any]]:
    alone = config.model_copy(update={"name": "alone"})
    files = generate(alone)
    return {name: files[name] for name in FILES}, stats_of(alone)


def test_eight_shards_in_any_order_write_the_bytes_of_one_machine(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer(delay=jitter) as server:
        config = experiment(tmp_path, tiny_base, server.url, None)
        expected, single = of_one_machine(config)
        shards = shards_of(config)
        random.Random(3).shuffle(shards)
        killed, lost = shards[2], shards[5]
        for shard in shards:
            if shard == killed:
                command = [*generate_command(config, tmp_path), "--shard", str(shard), "--until-request", str(UNTIL)]
                run_until_arrival(command, server, arrivals=2)
            if shard != lost:
                generate_shard(config, shard, UNTIL)
        before = len(server.asked)
        generate_shard(config, shards[0], UNTIL)
        assert len(server.asked) == before, "a shard that is started again asks nothing twice"
        with pytest.raises(RunError, match=rf"shard {lost} \(5 requests\)"):
            curated(config, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir()), "nothing is written while something is pending"
        generate_shard(config, lost, UNTIL)
    assert curated(config, tmp_path / "out") == expected
    assert curated(config, tmp_path / "two", workers=2) == expected
    union = json.loads((tmp_path / "out" / "stats.json").read_text(encoding="utf-8"))
    # More was asked ahead of the last commit by one than by the other, and the union has no clock.
    of_what_was_asked = {"tokens", "seconds", "tokens_per_second", "cost", "source"}
    for stats in (union, single):
        del stats["funnel"]["answered"]
    assert union.keys() == single.keys() > of_what_was_asked
    assert all(union[key] == single[key] for key in union.keys() - of_what_was_asked)
    assert union["stopped_by"] == "target" and union["funnel"]["accepted"] == 100


@pytest.mark.parametrize("budget", [{"requests": 7}, {"tokens": 9_000}])
def test_a_budget_stops_the_union_where_it_stops_one_machine(
    tiny_base: Path, tmp_path: Path, budget: dict[str, int]
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, budget=budget)
        expected, single = of_one_machine(config)
        for shard in shards_of(config, 3):
            generate_shard(config, shard, UNTIL)
        assert curated(config, tmp_path / "out") == expected
    assert json.loads((tmp_path / "out" / "stats.json").read_text())["stopped_by"] == single["stopped_by"] != "target"


def test_a_target_is_reached_in_waves_of_the_requests_that_curate_names(
    tiny_base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None)
        expected, _ = of_one_machine(config)
        waves = [9]
        while len(waves) < 4:
            for shard in shards_of(config, 3):
                generate_shard(config, shard, waves[-1])
            caplog.clear()
            if curated(config, tmp_path / "out") == expected:
                break
            waves.append(int(caplog.text.rpartition("--until-request ")[2].split()[0]))
    assert curated(config, tmp_path / "out") == expected
    assert len(waves) in (2, 3)


def test_a_hole_after_the_last_request_that_is_needed_is_no_hole(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, target=10)
        expected, _ = of_one_machine(config)
        for shard in shards_of(config, 4):
            generate_shard(config, shard, UNTIL)
    journal = journal_of(config, Shard(4, 4))
    lines = journal.read_text(encoding="utf-8").splitlines()
    late = max(lines, key=lambda line: int(json.loads(line)["request"]))
    journal.write_text("".join(f"{line}\n" for line in lines if line != late), encoding="utf-8")
    assert curated(config, tmp_path / "out") == expected


def test_a_shard_that_is_running_cannot_be_started_again(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None)
        generate_shard(config, Shard(1, 8), 8)
        own = {"runs_dir": str(config.run_dir / "shards"), "name": "1-of-8"}
        with (
            Run.open(config.model_copy(update=own)),
            pytest.raises(RunError, match="another pacos process is working"),
        ):
            generate_shard(config, Shard(1, 8), UNTIL)


def test_a_shard_that_ran_on_two_machines_counts_once(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None)
        expected, _ = of_one_machine(config)
        for shard in shards_of(config, 2):
            generate_shard(config, shard, UNTIL)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(journal_of(config, Shard(1, 2)).parent, elsewhere)
    rows = [json.loads(line) for line in (elsewhere / "responses.jsonl").read_text(encoding="utf-8").splitlines()]
    write_jsonl(elsewhere / "responses.jsonl", [row | {"seconds": 99.0} for row in rows])
    journals = journal_files([config.run_dir / "shards", elsewhere])
    curate_shards(journals, "both", tmp_path / "out", config)
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == expected

    write_jsonl(elsewhere / "responses.jsonl", [row | {"text": "1. Something else"} for row in rows])
    with pytest.raises(RunError, match=rf"elsewhere.*is another than that in .*{Shard(1, 2).number}-of-2"):
        curate_shards(journals, "both", tmp_path / "other", config)


@pytest.mark.parametrize(
    ("changed", "told"),
    [({"seed": 7}, "`seed` was 42, is 7"), ({"name": "other"}, None)],
)
def test_shards_of_another_configuration_are_refused(
    tiny_base: Path, tmp_path: Path, changed: dict[str, Any], told: str | None
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, target=10)
        for shard in shards_of(config, 2):
            generate_shard(config, shard, UNTIL)
    journals = journal_files([config.run_dir / "shards"])
    other = config.model_copy(update=changed)
    if told is None:
        assert curate_shards(journals, "x", tmp_path / "out", other).funnel.accepted == 10
        return
    with pytest.raises(RunError, match=told):
        curate_shards(journals, "x", tmp_path / "out", other)


def test_shards_of_two_models_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    for number, model in ((1, "one"), (2, "two")):
        with ScriptedServer(model=model) as server:
            config = experiment(tmp_path, tiny_base, server.url, None)
            generate_shard(config, Shard(number, 2), 8)
    with pytest.raises(RunError, match="the served model is two, there one"):
        curated(config, tmp_path / "out")


def test_a_journal_without_its_header_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None)
        for shard in shards_of(config, 2):
            generate_shard(config, shard, 8)
    journal_of(config, Shard(2, 2)).with_name("journal.json").unlink()
    with pytest.raises(RunError, match=r"no journal\.json beside"):
        curated(config, tmp_path / "out")


@pytest.mark.parametrize(
    "generate_keys", [{"preset": "self-instruct"}, {"machine_per_request": 1}, {"preset": "self-rewarding"}]
)
def test_what_needs_the_pool_is_not_sharded(tiny_base: Path, tmp_path: Path, generate_keys: dict[str, Any]) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", None, **generate_keys)
    with pytest.raises(ConfigError, match="a shard has no pool"):
        generate_shard(config, Shard(1, 2))
    assert not config.run_dir.exists()


def test_the_plan_of_a_shard_refuses_arguments_that_the_engine_would_not_take(tiny_base: Path, tmp_path: Path) -> None:
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", None)
    own_engine = config.model_copy(update={"engine": EngineConfig(args={"port": 8000})})
    with pytest.raises(ConfigError, match="takes no --port"):
        plan(own_engine, Shard(1, 2))


@pytest.mark.parametrize("text", ["0/8", "9/8", "1", "a/b", "1/0", "-1/8"])
def test_a_shard_is_written_k_of_n(text: str) -> None:
    with pytest.raises(ConfigError, match="k/n"):
        Shard.parse(text)


def test_shards_ask_every_request_once() -> None:
    asked = sorted(request for shard in shards_of(None, 8) for request in shard.requests(43))  # type: ignore[arg-type]
    assert asked == list(range(43))
    assert all(request in Shard.holding(request, 8).requests(43) for request in range(43))


def test_without_a_number_all_shards_ask_what_the_target_takes(tiny_base: Path, tmp_path: Path) -> None:
    """1,200 tasks, of which 60 % of 20 are accepted from a request: 100 requests."""
    config = experiment(tmp_path, tiny_base, "http://127.0.0.1:9/v1", None, target=1_200)
    plans = [plan(config, shard)[0] for shard in shards_of(config, 8)]
    assert all("of 100 requests" in line for line in plans)
    assert [line.split()[2] for line in plans] == ["13"] * 4 + ["12"] * 4


def test_the_command_line_says_what_is_pending_and_curates(
    tiny_base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer() as server:
        config = experiment(tmp_path, tiny_base, server.url, None, target=30)
        expected, _ = of_one_machine(config)
        file = generate_command(config, tmp_path)[-1]
        asking = ["generate", "--config", file, "--until-request", "12", "--shard"]
        cli, out = CliRunner(), str(tmp_path / "out")
        curating = ["curate", str(config.run_dir / "shards"), "--config", file, "--out", out]
        assert cli.invoke(app, [*asking, "1/2"], catch_exceptions=False).exit_code == 0
        assert isinstance(cli.invoke(app, curating).exception, RunError)
        assert "6 of 12 requests" in cli.invoke(app, [*asking, "2/2", "--dry-run"], catch_exceptions=False).output
        assert cli.invoke(app, [*asking, "2/2"], catch_exceptions=False).exit_code == 0
        assert cli.invoke(app, curating, catch_exceptions=False).exit_code == 0
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == expected
