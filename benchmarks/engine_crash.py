"""The model server killed mid-run: `python -m benchmarks.engine_crash --base DIR [--save]`.

`pacos generate` with a vLLM of its own gets three kill -9, spread over the run: at vLLM's engine process, at the whole
server, and at the server with the guard that watches it. It must restart the server each time and finish with every
request answered once. Request i sends seed i, and vLLM logs what it receives, which shows what was sent again.

DIR has a model that writes lists: `.cache/smollm2-135m-instruct`, from `pacos fetch smollm2`.
"""

import argparse
import re
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from benchmarks import generation_runs as runs
from benchmarks.result import report

IN_FLIGHT = 8
VICTIMS = ("engine", "server", "server_and_guard")
RECEIVED = re.compile(r"Received request .*?\bseed=(\d+)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--base", type=Path, required=True, help="a model that writes lists, such as .cache/smollm2-135m-instruct"
    )
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--max-tokens", type=int, default=400)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.base.resolve(), options.requests, options.max_tokens)
    settings = {"requests": options.requests, "max_tokens": options.max_tokens, "in_flight": IN_FLIGHT}
    report("engine_crash", figures, settings=settings, save=options.save)


def measure(folder: Path, base: Path, requests: int, max_tokens: int) -> dict[str, Any]:
    experiment = runs.write_experiment(
        folder,
        "crash",
        base=base,
        engine={
            "max_in_flight": IN_FLIGHT,
            "args": {"max_model_len": 2048, "enable_log_requests": True, "enforce_eager": True},
        },
        target=1_000_000,
        budget={"requests": requests},
        sampling={"temperature": 0.6, "max_tokens": max_tokens, "seed": 0},
    )
    process = runs.start(experiment)
    kills = []
    for nth, victim in enumerate(VICTIMS, 1):
        before = _wait_for_answers(experiment, process.pid, nth * requests // (len(VICTIMS) + 1))
        arrived = _arrivals(experiment)
        kills.append({"victim": victim, "processes": _kill(process.pid, victim), "before": before, "arrived": arrived})
    status, errors = runs.finish(process, limit_s=1200)
    final, everything = runs.answered(experiment), _arrivals(experiment)
    lines = (runs.dataset_of(experiment) / "responses.jsonl").read_bytes().count(b"\n")
    return {
        "exit_status": status,
        "last_words": "" if status == 0 else errors.strip().splitlines()[-1],
        "kills": [
            {
                "victim": kill["victim"],
                "processes_killed": kill["processes"],
                "answers_before": len(kill["before"]),
                "answers_lost": sum(final.get(request) != text for request, text in kill["before"].items()),
                "answered_requests_asked_again": len((everything - kill["arrived"]).keys() & kill["before"].keys()),
            }
            for kill in kills
        ],
        "server_starts_again": (runs.run_of(experiment) / "log.txt").read_text().count("starting it again"),
        "requests_answered": len(final),
        "every_request_answered_once": sorted(final) == list(range(requests)) and lines == requests,
        "requests_sent_again": sum(everything.values()) - len(everything),
    }


def _wait_for_answers(experiment: Path, pid: int, count: int) -> dict[int, str]:
    """The journal's answers once there are `count`. Raises RuntimeError if the run ends before."""
    while len(answers := runs.answered(experiment)) < count:
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"the run ended at {len(answers)} answers, before it was to be killed at {count}")
        time.sleep(0.1)
    return answers


def _kill(pid: int, victim: str) -> int:
    """Send kill -9 to the victim's processes; how many there were."""
    guards = psutil.Process(pid).children()
    server = [process for guard in guards for process in guard.children(recursive=True)]
    chosen = {
        "engine": [process for process in server if "EngineCore" in process.name()],
        "server": server,
        "server_and_guard": guards + server,
    }[victim]
    for process in chosen:
        process.kill()
    return len(chosen)


def _arrivals(experiment: Path) -> Counter[int]:
    """How often each request has reached a server."""
    log = (runs.run_of(experiment) / "engine.log").read_text(encoding="utf-8", errors="replace")
    return Counter(int(seed) for seed in RECEIVED.findall(log))


if __name__ == "__main__":
    main()
