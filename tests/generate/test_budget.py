"""Budgets: what stops a run, and at which task."""

from pathlib import Path
from typing import Any

import pytest

from pacos.errors import RunError
from pacos.generate.journal import read_responses
from tests.support.generated_run import experiment, generate, jitter, stats_of
from tests.support.scripted_server import ScriptedServer


def stop_at(limit: dict[str, Any]) -> dict[str, Any]:
    return {"target": 10_000, "budget": limit}


@pytest.mark.parametrize(
    ("limit", "reason"), [({"requests": 7}, "requests"), ({"tokens": 12_000}, "tokens"), ({"seconds": 0.5}, "seconds")]
)
def test_each_budget_stops_the_run_and_says_so(
    tmp_path: Path, tiny_base: Path, seeds: Path, limit: dict[str, Any], reason: str
) -> None:
    with ScriptedServer(delay=jitter) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, **stop_at(limit))
        first = generate(config)
        assert stats_of(config)["stopped_by"] == reason
        if reason != "seconds":
            alone = experiment(tmp_path, tiny_base, server.url, seeds, name="alone", in_flight=1, **stop_at(limit))
            assert generate(alone) == first
    if reason == "requests":
        assert len(read_responses(config.run_dir / "dataset" / "responses.jsonl")) == 7


def test_money_is_seconds_times_the_price(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    with ScriptedServer(delay=lambda prompt: 0.02) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, **stop_at({"money": 1.0}))
        engine = config.engine.model_copy(update={"price_per_gpu_hour": 3600.0 * 2, "data_parallel": 2})
        config = config.model_copy(update={"engine": engine})
        generate(config)
    stats = stats_of(config)
    # Two GPUs at 2 a second each: a budget of 1 is a quarter of a second.
    assert stats["stopped_by"] == "money"
    assert 0.25 <= stats["seconds"] < 2
    assert stats["cost"]["total"] == pytest.approx(4 * stats["seconds"], rel=0.01)


def test_a_low_yield_stops_the_run(tmp_path: Path, tiny_base: Path, seeds: Path) -> None:
    """One good task, then the same list of fifty for ever."""
    same = "###\n".join(f"{number}. Instruction: Sing it again\n{number}. Output:\nNo.\n" for number in range(4, 54))
    text = same.removeprefix("4. Instruction:").replace("again", "again now", 1)
    with ScriptedServer(answer=lambda prompt, seed: (text, "stop")) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, **stop_at({"min_acceptance": 0.01}))
        generate(config)
    stats = stats_of(config)
    assert (stats["stopped_by"], stats["funnel"]["items"], stats["funnel"]["accepted"]) == ("min_acceptance", 2000, 1)


def test_a_run_that_accepts_nothing_is_an_error_that_names_the_reasons(
    tmp_path: Path, tiny_base: Path, seeds: Path
) -> None:
    with ScriptedServer(answer=lambda prompt, seed: ("gibberish", "stop")) as server:
        config = experiment(tmp_path, tiny_base, server.url, seeds, budget={"requests": 5})
        with pytest.raises(RunError, match=r"not one of 5 items was accepted \(left out: incomplete 5\)"):
            generate(config)
    assert stats_of(config)["stopped_by"] == "requests"
