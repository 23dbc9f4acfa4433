"""`pacos filter` and `pacos curate` on a real Ray cluster of two nodes write what one process writes."""

import contextlib
import importlib.util
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from pacos.config import FiltersConfig, GenerateConfig
from pacos.errors import ConfigError, RunError
from pacos.files import write_jsonl
from pacos.generate import judging
from pacos.generate.curate import curate, filter_file
from pacos.generate.ray_actors import ray_actors
from pacos.records import Task
from tests.generate.test_workers import FILES, instructions
from tests.support.ray_cluster import ray_cluster

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="needs Ray: pip install ray")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with ray_cluster(2) as two_nodes:
        yield two_nodes


@needs_ray
def test_filter_and_curate_on_two_nodes_write_the_same_files(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "PER_WORKER", 16)
    monkeypatch.setattr(judging, "ANSWERS_PER_WORKER", 8)
    texts = instructions(random.Random(1), 300)
    write_jsonl(tmp_path / "tasks.jsonl", [{"instruction": text, "input": "", "output": "Yes."} for text in texts])
    answers = [f" {text}\n4. Input:\n<noinput>\n4. Output:\nAnswer.\n" for text in texts]
    write_jsonl(
        tmp_path / "in" / "responses.jsonl",
        [{"request": number, "text": text, "finish_reason": "stop"} for number, text in enumerate(answers)],
    )
    for address in (None, cluster.address):
        out = tmp_path / ("ray" if address else "alone")
        stats = filter_file(tmp_path / "tasks.jsonl", out / "filter", None, FiltersConfig(), ray=address)
        assert stats.funnel.rejected["novelty"] > 50 and stats.funnel.accepted > 50
        curate(tmp_path / "in" / "responses.jsonl", out / "curate", GenerateConfig(target=60), ray=address)
    for name in FILES:
        for command in ("filter", "curate"):
            written = [(tmp_path / folder / command / name).read_bytes() for folder in ("alone", "ray")]
            assert written[0] == written[1], f"{command}: {name}"
    assert json.loads((tmp_path / "ray" / "curate" / "stats.json").read_bytes())["stopped_by"] == "target"


@needs_ray
def test_more_workers_than_the_cluster_has_cpus_are_refused(cluster: Any) -> None:
    with (
        pytest.raises(ConfigError, match="the cluster has 2"),
        ray_actors(cluster.address, 5, FiltersConfig(), whole_tasks=True),
    ):
        pass


@needs_ray
def test_a_node_that_is_lost_with_its_worker_is_a_clear_error(cluster: Any) -> None:
    import ray

    third = cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    with ray_actors(cluster.address, None, FiltersConfig(), whole_tasks=True) as workers:
        assert workers.count == 3  # one on each node, as each takes a CPU
        tasks = [Task(f"Name {number} rivers of Asia.", "", "Indus") for number in range(3)]
        workers.judge(tasks)
        assert workers.verdicts().each == [None, None, None]
        [raylet] = third.all_processes["raylet"]
        on_third = psutil.Process(raylet.process.pid).children(recursive=True)
        cluster.remove_node(third, allow_graceful=False)
        for process in on_third:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        workers.judge(tasks)
        with pytest.raises(RunError, match="a worker of the Ray cluster failed"):
            workers.verdicts()
    assert not ray.is_initialized()


@needs_ray
def test_an_address_where_nothing_listens_is_refused_at_once() -> None:
    with (
        pytest.raises(RunError, match="no Ray cluster that can be used"),
        ray_actors("127.0.0.1:1", 1, FiltersConfig(), whole_tasks=True),
    ):
        pass


def test_without_ray_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(ConfigError, match="needs Ray") as refused,
        ray_actors("auto", 1, FiltersConfig(), whole_tasks=True),
    ):
        pass
    assert refused.value.todo == "pip install ray"
