"""Three vLLM servers, one of them killed: `python -m benchmarks.three_servers [--base DIR] [--save]`.

`pacos generate` with one address, then with three in `engine.url`; of the three one is killed by kill -9 in the middle
of the run. Every server has `engine.deterministic`, so the datasets must be the same to the byte. The base is the small
list writer of tests/support, taught in about a minute, unless DIR has another.
"""

import argparse
import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from benchmarks import generation_runs as runs
from benchmarks.result import report
from benchmarks.vllm_server import KEY_ENV, tokens_by_replica
from pacos.config import Config, EngineConfig, ModelConfig
from pacos.serving.server import ManagedServer
from tests.support.list_writer import CONTEXT, build_list_writer

IN_FLIGHT = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a model that writes lists; tests/support/list_writer.py's")
    parser.add_argument("--target", type=int, default=20, help="tasks of the dataset")
    parser.add_argument("--kill-after", type=int, default=3, help="answers in the journal when one is killed")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = options.base.resolve() if options.base else build_list_writer(folder / "base")
        figures = measure(folder, base, options.target, options.kill_after)
    report("three_servers", figures, settings={"target": options.target}, save=options.save)


def measure(folder: Path, base: Path, target: int, kill_after: int) -> dict[str, Any]:
    def experiment(name: str, urls: Sequence[str]) -> Path:
        engine = {"url": list(urls), "api_key_env": KEY_ENV, "max_in_flight": IN_FLIGHT, "deterministic": True}
        sampling = {"temperature": 0.6, "max_tokens": 200}
        return runs.write_experiment(folder, name, base=base, engine=engine, target=target, sampling=sampling)

    with serving(base, folder, 3) as servers:
        alone = runs.run_whole(experiment("alone", [servers[0].url]))
        before = [tokens_by_replica(server)[0] for server in servers]
        three = experiment("three", [server.url for server in servers])
        killing = threading.Thread(target=_kill_when, args=(servers[1], three, kill_after))
        killing.start()
        together = runs.run_whole(three)
        killing.join()
        written = [tokens_by_replica(server)[0] - before[at] for at, server in enumerate(servers) if at != 1]
    return {
        "same_bytes": together == alone,
        "tokens_written_by_the_two_that_lived": written,
        "answers": len(runs.answered(three)),
        "killed": "1 of 3, by kill -9",
    }


@contextlib.contextmanager
def serving(base: Path, folder: Path, count: int) -> Iterator[list[ManagedServer]]:
    """Servers that repeat themselves, with one key for all, in the environment as KEY_ENV.

    One thread for each: threads of several servers that wait for one another on two cores stand still.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    config = Config(
        name="benchmark",
        model=ModelConfig(base=str(base)),
        engine=EngineConfig(deterministic=True, args={"max_model_len": CONTEXT}),
    )
    with contextlib.ExitStack() as stack:
        servers = []
        for number in range(count):
            server = ManagedServer.of(config, folder / f"server-{number}", str(base))
            server.key = servers[0].key if servers else server.key
            stack.callback(server.stop)
            server.start()
            servers.append(server)
        os.environ[KEY_ENV] = servers[0].key
        yield servers


def _kill_when(server: ManagedServer, experiment: Path, answers: int) -> None:
    """Kill every process of a server as soon as the journal has so many answers."""
    journal = runs.dataset_of(experiment) / "responses.jsonl"
    while not journal.exists() or journal.read_bytes().count(b"\n") < answers:
        time.sleep(0.05)
    assert server._process is not None
    for process in psutil.Process(server._process.pid).children(recursive=True):
        process.kill()


if __name__ == "__main__":
    main()
