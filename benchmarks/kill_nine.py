"""kill -9 at random moments: `python -m benchmarks.kill_nine [--kills 20] [--concurrency 1 8 64] [--save]`.

The real command runs against a server that repeats its answers (tests/support/scripted_server.py). One run is killed
many times, sometimes during its start, and finally left to finish. Its dataset must equal that of a run which was never
killed and sent one request at a time, and no request whose answer was in the journal may be sent again.
"""

import argparse
import hashlib
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from benchmarks import generation_runs as runs
from benchmarks.result import report
from tests.support.scripted_server import Prompt, ScriptedServer
from tests.support.tiny_llama import build_tiny_llama

ANSWERS_PER_SECOND = 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--target", type=int, default=1500, help="tasks of the dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.kills, options.concurrency, options.target, options.seed)
    settings = {name: value for name, value in vars(options).items() if name != "save"}
    report("kill_nine", figures, settings=settings, save=options.save)


def measure(folder: Path, kills: int, concurrency: Sequence[int], target: int, seed: int) -> dict[str, Any]:
    base, seeds = build_tiny_llama(folder / "base"), runs.write_seeds(folder / "seeds.jsonl")

    def experiment(name: str, server: ScriptedServer, in_flight: int) -> Path:
        engine = {"url": server.url, "max_in_flight": in_flight}
        asked = {"seeds": str(seeds), "target": target, "sampling": {"seed": 0}}
        return runs.write_experiment(folder, name, base=base, engine=engine, **asked)

    with ScriptedServer() as server:
        expected = runs.run_whole(experiment("whole", server, 1))
    figures = {}
    for in_flight in concurrency:
        with ScriptedServer(delay=_delays(in_flight)) as server:
            killed = experiment(f"killed-at-{in_flight}", server, in_flight)
            draw = Random(f"{seed}:{in_flight}")
            figures[f"at_{in_flight}"] = _kill_and_finish(killed, server, expected, kills, in_flight, draw)
    return figures


def _kill_and_finish(
    experiment: Path, server: ScriptedServer, expected: dict[str, bytes], kills: int, in_flight: int, draw: Random
) -> dict[str, Any]:
    killed = asked_again = lost = 0
    sizes = []
    for _ in range(kills):
        before, since = runs.answered(experiment), len(server.bodies)
        killed += _run_and_kill(experiment, server, in_flight, draw)
        asked_again += len(before.keys() & runs.requests_asked(server, since))
        after = runs.answered(experiment)
        lost += sum(after.get(request) != text for request, text in before.items())
        sizes.append(len(after))
    before, since = runs.answered(experiment), len(server.bodies)
    final = runs.run_whole(experiment)
    asked_again += len(before.keys() & runs.requests_asked(server, since))
    return {
        "kills": killed,
        "same_bytes": final == expected,
        "answered_requests_asked_again": asked_again,
        "answers_lost": lost,
        "answers_in_the_journal_at_each_kill": sizes,
        "answers_at_the_end": len(runs.answered(experiment)),
    }


def _run_and_kill(experiment: Path, server: ScriptedServer, in_flight: int, draw: Random) -> bool:
    """Kill the command at a random moment; False where it had finished before.

    One in five dies within two seconds of its start; the others up to 50 ms after a random arrival.
    """
    reached = threading.Event()
    kill_at = len(server.bodies) + draw.randint(1, in_flight + 20)
    server.on_arrival = lambda arrival: reached.set() if arrival >= kill_at else None
    process = runs.start(experiment)
    if draw.random() < 0.2:
        time.sleep(draw.uniform(0.0, 2.0))
    else:
        reached.wait(120)
        time.sleep(draw.uniform(0.0, 0.05))
    alive = process.poll() is None
    process.kill()
    runs.finish(process)
    return alive


def _delays(in_flight: int) -> Any:
    """Delays that differ by prompt and give the same answers per second at every concurrency."""

    def delay(prompt: Prompt) -> float:
        share = hashlib.sha256(repr(prompt).encode()).digest()[0] / 128
        return share * in_flight / ANSWERS_PER_SECOND

    return delay


if __name__ == "__main__":
    main()
