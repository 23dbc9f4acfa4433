"""How much of the engine's speed the pipeline reaches: `python -m benchmarks.engine_share --base DIR [--save]`.

`pacos generate` and a bare client (`bare_client.py`) take turns on one vLLM server, each going first as often. The bare
client sends exactly the pipeline's requests (token ids, stops, limits and seeds) in the same order and as many at a
time; so both ask for the same answers, and the figures say how many had equal lengths. The prefix cache is emptied
before every turn. Rates are the server's own count of generated tokens between the first and the last moment at which
all slots were taken, so without ramp and drain. Clients and engine share the machine's cores.

DIR has a model that writes lists: `.cache/smollm2-135m-instruct`, from `pacos fetch smollm2`.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from benchmarks import generation_runs as runs
from benchmarks.result import report
from benchmarks.vllm_server import CONTEXT, KEY_ENV, forget_prefixes, load, serving
from pacos.config import Config, load_config
from pacos.generate.journal import read_responses
from pacos.generate.prompting.request import RequestMaker
from pacos.models import load_tokenizer
from pacos.seeds import load_seeds, seeds_path
from pacos.serving.server import ManagedServer

SAMPLE_EVERY_S = 0.25


class Turn(NamedTuple):
    """While all slots were taken: tokens a second, seconds, CPU seconds of the client. All of it: answers' tokens."""

    rate: float
    seconds: float
    cpu: float
    lengths: list[int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--base", type=Path, required=True, help="a model that writes lists, such as .cache/smollm2-135m-instruct"
    )
    parser.add_argument("--requests", type=int, default=256, help="in each turn")
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--max-tokens", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    settings = {name: value for name, value in vars(options).items() if name not in ("save", "base")}
    with tempfile.TemporaryDirectory() as folder, serving(options.base.resolve(), Path(folder)) as server:
        figures = measure(server, Path(folder), options.base.resolve(), **settings)
    report("engine_share", figures, settings=settings, save=options.save)


def measure(
    server: ManagedServer, folder: Path, base: Path, *, requests: int, in_flight: int, max_tokens: int, rounds: int
) -> dict[str, Any]:
    def experiment(name: str) -> Path:
        return runs.write_experiment(
            folder,
            name,
            base=base,
            engine={"url": server.url, "api_key_env": KEY_ENV, "max_in_flight": in_flight},
            target=1_000_000,
            budget={"requests": requests, "min_acceptance": 0.0},
            sampling={"temperature": 0.6, "max_tokens": max_tokens, "seed": 0},
        )

    bodies = folder / "bodies.jsonl"
    _write_bodies(bodies, load_config(experiment("bodies")), requests)
    turns: dict[str, list[Turn]] = {"pipeline": [], "bare": []}
    for turn in range(rounds):
        for client in sorted(turns, reverse=turn % 2 == 0):
            forget_prefixes(server)
            if client == "pipeline":
                turns[client].append(_pipeline(server, experiment(f"turn-{turn}"), in_flight))
            else:
                turns[client].append(_bare(server, bodies, in_flight))
    pipeline, bare = turns["pipeline"], turns["bare"]
    ratios = [ours.rate / theirs.rate for ours, theirs in zip(pipeline, bare, strict=True)]
    lengths = [[length for turn in side for length in turn.lengths] for side in (pipeline, bare)]
    equal = sum(ours == theirs for ours, theirs in zip(*lengths, strict=True))
    return {
        "share_of_the_bare_engine": round(statistics.median(ratios), 4),
        "shares": [round(ratio, 4) for ratio in ratios],
        "answers_of_equal_length": round(equal / len(lengths[0]), 4),
        "pipeline": _figures(pipeline),
        "bare": _figures(bare),
    }


def _figures(turns: Sequence[Turn]) -> dict[str, Any]:
    cores = psutil.cpu_count() or 1
    return {
        "tokens_per_second": [round(turn.rate, 1) for turn in turns],
        "seconds_measured": [round(turn.seconds, 1) for turn in turns],
        "tokens": [sum(turn.lengths) for turn in turns],
        "client_cpu_seconds": [round(turn.cpu, 2) for turn in turns],
        "client_share_of_all_cores": [round(turn.cpu / turn.seconds / cores, 4) for turn in turns],
    }


def _write_bodies(path: Path, config: Config, requests: int) -> None:
    """The pipeline's requests as they go over the wire."""
    tokenizer = load_tokenizer(config.model.base, config.model)
    maker = RequestMaker(config, load_seeds(seeds_path(config.generate.seeds)), tokenizer, CONTEXT)
    lines = []
    for request in map(maker.make, range(requests)):
        sampling = request.sampling
        body = {
            "model": "base",
            "prompt": request.prompt_ids,
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "stop": list(sampling.stop),
            "seed": sampling.seed,
        }
        lines.append(json.dumps(body) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def _pipeline(server: ManagedServer, experiment: Path, in_flight: int) -> Turn:
    rate, seconds, cpu = _watched(server, runs.start(experiment), in_flight)
    answers = read_responses(runs.dataset_of(experiment) / "responses.jsonl")
    return Turn(rate, seconds, cpu, [answers[number].completion_tokens for number in sorted(answers)])


def _bare(server: ManagedServer, bodies: Path, in_flight: int) -> Turn:
    lengths = bodies.with_name("lengths.json")
    command = [sys.executable, "-m", "benchmarks.bare_client", str(bodies), str(lengths)]
    options = ["--url", server.url, "--in-flight", str(in_flight)]
    process = subprocess.Popen([*command, *options], cwd=runs.ROOT, text=True, stderr=subprocess.PIPE)
    return Turn(*_watched(server, process, in_flight), json.loads(lengths.read_text(encoding="utf-8")))


def _watched(server: ManagedServer, process: subprocess.Popen[str], in_flight: int) -> tuple[float, float, float]:
    """(tokens a second, seconds, the client's CPU seconds) between the first and last moment with all slots taken."""
    client, full = psutil.Process(process.pid), []
    while process.poll() is None:
        (tokens, busy), times = load(server), client.cpu_times()
        if busy >= in_flight:
            full.append((time.monotonic(), tokens, times.user + times.system))
        time.sleep(SAMPLE_EVERY_S)
    status, errors = runs.finish(process)
    if status:
        raise RuntimeError(errors)
    (began, first, cpu_before), (ended, last, cpu_after) = full[0], full[-1]
    return (last - first) / (ended - began), ended - began, cpu_after - cpu_before


if __name__ == "__main__":
    main()
