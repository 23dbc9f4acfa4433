"""Shards against one machine: `python -m benchmarks.shards [--shards 8] [--nodes 2] [--kills 10] [--save]`.

Eight shards of `pacos generate` run as tasks on a Ray cluster of two nodes in this machine, or as plain processes where
`ray` is not installed. Their workers are killed by kill -9 at random moments, and `pacos curate` commits the union. Its
files must be the bytes of a run on one machine; the engine is one that repeats itself (tests/support/scripted_server).
"""

import argparse
import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import generation_runs as runs
from benchmarks.result import report
from pacos.machine import version_of
from tests.support.ray_cluster import ray_cluster
from tests.support.scripted_server import Prompt, ScriptedServer
from tests.support.tiny_llama import build_tiny_llama

FILES = ("dataset.jsonl", "rejected.jsonl")
ANSWERS_PER_SECOND = 25
ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--nodes", type=int, default=2, help="of the Ray cluster; 0: plain processes")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--target", type=int, default=1500, help="tasks of the dataset")
    parser.add_argument("--until-request", type=int, default=640)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    if importlib.util.find_spec("ray") is None:
        options.nodes = 0
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options)
    settings = {name: value for name, value in vars(options).items() if name != "save"}
    settings["ray"] = version_of("ray") if options.nodes else None
    report("shards", figures, settings=settings, save=options.save)


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    base, seeds = build_tiny_llama(folder / "base"), runs.write_seeds(folder / "seeds.jsonl")
    asked = {"seeds": str(seeds), "target": options.target, "sampling": {"seed": 0}}

    def experiment(name: str, server: ScriptedServer) -> Path:
        return runs.write_experiment(folder, name, base=base, engine={"url": server.url, "max_in_flight": 2}, **asked)

    with ScriptedServer() as server:
        expected = runs.run_whole(experiment("whole", server))
    on = ray_cluster(options.nodes, cpus=4) if options.nodes else contextlib.nullcontext()
    with ScriptedServer(delay=_delay(options.shards)) as server, on as cluster:
        sharded = experiment("sharded", server)
        done, killed = threading.Event(), list[int]()
        killer = threading.Thread(target=_kill, args=(sharded, server, options, done, killed))
        killer.start()
        nodes = _on_ray(sharded, options, cluster.address) if cluster else _as_processes(sharded, options)
        done.set()
        killer.join()
        requests = [int(body["seed"]) for body in server.bodies]
    folder_of_shards = runs.run_of(sharded) / "shards"
    curated = folder / "curated"
    _pacos("curate", str(folder_of_shards), "--config", str(sharded), "--out", str(curated))
    return {
        "same_bytes": all((curated / name).read_bytes() == expected[name] for name in FILES),
        "kills": len(killed),
        "shards_on_each_node": nodes,
        "requests": options.until_request,
        "asked_again_because_a_kill_lost_the_answer": len(requests) - len(set(requests)),
    }


def _on_ray(experiment: Path, options: argparse.Namespace, address: str) -> dict[str, int]:
    """How many shards ended on each node."""
    script = [sys.executable, str(ROOT / "scripts" / "ray_generate.py"), str(experiment), str(options.shards)]
    ended = subprocess.run(
        [*script, "--gpus", "0", "--retries", "20", "--until-request", str(options.until_request)],
        env=os.environ | {"RAY_ADDRESS": address},
        cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    places = [line.rpartition(" ")[2] for line in ended.stdout.splitlines() if ": done on " in line]
    return {f"node {number}": places.count(place) for number, place in enumerate(sorted(set(places)), 1)}


def _as_processes(experiment: Path, options: argparse.Namespace) -> dict[str, int]:
    def until_done(shard: int) -> None:
        command = ["--shard", f"{shard}/{options.shards}", "--until-request", str(options.until_request)]
        while _pacos("generate", "--config", str(experiment), *command, check=False):
            time.sleep(0.1)

    threads = [threading.Thread(target=until_done, args=(shard,)) for shard in range(1, options.shards + 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"plain processes": options.shards}


def _kill(
    experiment: Path, server: ScriptedServer, options: argparse.Namespace, done: threading.Event, killed: list[int]
) -> None:
    """Kill shards, one at a time, after random numbers of further requests; adds the processes to `killed`."""
    draw = Random(options.seed)
    apart = options.until_request // (options.kills + 2)
    for _ in range(options.kills):
        at = len(server.asked) + draw.randint(1, apart)
        while len(server.asked) < at and not done.wait(0.01):
            pass
        time.sleep(draw.uniform(0, 0.1))
        if not done.is_set():
            killed += _kill_one(experiment, draw)


def _kill_one(experiment: Path, draw: Random) -> list[int]:
    """The process that was killed: one that holds a shard's lock, whose number is in the lock's file."""
    locks = sorted((runs.run_of(experiment) / "shards").glob("*/.lock"))
    draw.shuffle(locks)
    for lock in locks:
        process = int(lock.read_text() or 0)
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            holds = any(os.path.samefile(f"/proc/{process}/fd/{fd}", lock) for fd in _descriptors(process))
            if holds:
                os.kill(process, signal.SIGKILL)
                return [process]
    return []


def _descriptors(process: int) -> list[str]:
    return [fd for fd in os.listdir(f"/proc/{process}/fd") if os.path.exists(f"/proc/{process}/fd/{fd}")]


def _pacos(*arguments: str, check: bool = True) -> int:
    command = [sys.executable, "-c", runs.WORKER, *arguments]
    return subprocess.run(command, cwd=ROOT, stderr=subprocess.DEVNULL, check=check).returncode


def _delay(shards: int) -> Any:
    """Each shard has two in flight."""

    def delay(prompt: Prompt) -> float:
        return 2 * shards / ANSWERS_PER_SECOND * (0.5 + sum(prompt) % 100 / 100)

    return delay


if __name__ == "__main__":
    main()
