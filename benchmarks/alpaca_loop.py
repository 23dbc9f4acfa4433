"""Accepted tasks a second against the published Alpaca loop: `python -m benchmarks.alpaca_loop [--base DIR] [--save]`.

Both send the same prompts to one vLLM server, with the same sampling, parser, rules and pool: the seeds, with no task
or 10,000 real ones. `published_loop.py` has the loop. Seconds are from the first request to the end, including the
pipeline's drain and its last files.
"""

import argparse
import gzip
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import generation_runs as runs
from benchmarks.result import SHARED_DATA, report
from benchmarks.vllm_server import CONTEXT, KEY_ENV, forget_prefixes, load, serving
from pacos.config import load_config
from pacos.files import JsonlWriter
from pacos.generate.prompting.alpaca import format_item
from pacos.generate.prompting.request import RequestMaker
from pacos.models import load_tokenizer
from pacos.records import DatasetRow, Response, Task, read_records
from pacos.runs import Run
from pacos.seeds import load_seeds, seeds_path
from pacos.serving.server import ManagedServer
from tests.support.list_writer import build_list_writer

PROMPTS_PER_CALL = 5
TASKS_PER_ANSWER = 16
SAMPLE_EVERY_S = 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, help="a model that writes lists; tests/support/list_writer.py's")
    parser.add_argument("--pools", type=int, nargs="+", default=[0, 10_000], help="real tasks already in the pool")
    parser.add_argument("--requests", type=int, default=120, help="prompts that each sends")
    parser.add_argument("--in-flight", type=int, default=64, help="of the pipeline; the loop has five")
    parser.add_argument("--max-tokens", type=int, default=600)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    settings = {name: value for name, value in vars(options).items() if name != "save"}
    settings["base"] = options.base.name if options.base else "small_llama"
    figures = {}
    with tempfile.TemporaryDirectory() as name:
        base = options.base.resolve() if options.base else build_list_writer(Path(name) / "base")
        with serving(base, Path(name)) as server:
            for size in options.pools:
                folder = Path(name) / f"pool-{size}"
                folder.mkdir()
                figures[f"pool_{size}"] = compare(server, base, folder, options, _real_tasks(size))
    report("alpaca_loop", figures, settings=settings, save=options.save)


def compare(
    server: ManagedServer, base: Path, folder: Path, options: argparse.Namespace, known: list[Task]
) -> dict[str, Any]:
    answers = [known[start : start + TASKS_PER_ANSWER] for start in range(0, len(known), TASKS_PER_ANSWER)]
    experiment = runs.write_experiment(
        folder,
        "pipeline",
        base=base,
        engine={"url": server.url, "api_key_env": KEY_ENV, "max_in_flight": options.in_flight},
        target=1_000_000,
        budget={"requests": len(answers) + options.requests, "min_acceptance": 0.0},
        sampling={"temperature": 0.6, "max_tokens": options.max_tokens},
        filters={"defects": False},
    )
    tokens = [load(server)[0]]
    ours, pool = _pipeline(server, experiment, answers)
    tokens.append(load(server)[0])
    theirs = _loop(server, experiment, pool, range(len(answers), len(answers) + options.requests))
    tokens.append(load(server)[0])
    for side, (before, after) in zip((ours, theirs), itertools.pairwise(tokens), strict=True):
        side["tokens_per_s"] = round((after - before) / side["seconds"])
    rates = [side["accepted"] / side["seconds"] for side in (ours, theirs)]
    return {"times_faster": round(rates[0] / rates[1], 1), "tasks_in_the_pool": len(pool), "pipeline": ours,
            "loop": theirs}  # fmt: skip


def _real_tasks(count: int) -> list[Task]:
    with gzip.open(SHARED_DATA / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as rows:
        return [Task(**json.loads(row)) for row in itertools.islice(rows, count)]


def _pipeline(
    server: ManagedServer, experiment: Path, answers: Sequence[list[Task]]
) -> tuple[dict[str, Any], list[str]]:
    """(new tasks accepted and seconds, instructions that were in the pool before).

    The real tasks are answers in the journal, which the run commits before its own.
    """
    with (
        Run.open(load_config(experiment)) as run,
        JsonlWriter(run.dataset / "responses.jsonl") as journal,
    ):
        for number, tasks in enumerate(answers):
            text = "".join(format_item(place, task) for place, task in enumerate(tasks, 4))
            journal.write(Response(number, text.removeprefix("###\n4. Instruction:"), "stop"))
    forget_prefixes(server)
    process, began = runs.start(experiment), None
    while process.poll() is None:
        if began is None and load(server)[1]:
            began = time.monotonic()
        time.sleep(SAMPLE_EVERY_S)
    status, errors = runs.finish(process)
    if status or began is None:
        raise RuntimeError(errors)
    seconds = time.monotonic() - began
    rows = read_records(runs.dataset_of(experiment) / "dataset.jsonl", DatasetRow)
    before = [row.instruction for row in rows if row.request < len(answers)]
    return {"accepted": len(rows) - len(before), "seconds": round(seconds, 1)}, before


def _loop(server: ManagedServer, experiment: Path, pool: Sequence[str], requests: range) -> dict[str, Any]:
    config = load_config(experiment)
    seeds = load_seeds(seeds_path(None))
    maker = RequestMaker(config, seeds, load_tokenizer(config.model.base, config.model), CONTEXT)
    calls, known, out = (experiment.with_suffix(suffix) for suffix in (".calls", ".pool", ".out"))
    known.write_text(json.dumps([*(seed.task.instruction for seed in seeds), *pool]), encoding="utf-8")
    with calls.open("w", encoding="utf-8") as lines:
        for start in requests[::PROMPTS_PER_CALL]:
            lines.write(json.dumps(_call(maker, range(start, start + PROMPTS_PER_CALL))) + "\n")
    forget_prefixes(server)
    command = [sys.executable, "-m", "benchmarks.published_loop", str(calls), str(known), str(out)]
    subprocess.run([*command, "--url", server.url], cwd=runs.ROOT, check=True)
    figures = json.loads(out.read_text(encoding="utf-8"))
    return {"accepted": figures["accepted"], "seconds": round(figures["seconds"], 1)}


def _call(maker: RequestMaker, numbers: range) -> dict[str, Any]:
    """The body of one call, with the prompts of several requests."""
    requests = [maker.make(number) for number in numbers]
    sampling = requests[0].sampling
    return {
        "model": "base",
        "prompt": [request.prompt_ids for request in requests],
        "max_tokens": min(request.sampling.max_tokens for request in requests),
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "stop": list(sampling.stop),
    }


if __name__ == "__main__":
    main()
