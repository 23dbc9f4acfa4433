"""Two vLLM replicas behind one address: `python -m benchmarks.replicas --base DIR [--save]`.

`pacos generate` with `engine.url`, once before one engine and once before `--data-parallel-size 2`. Request i sends
seed i, so both could give the same answers: the figures say whether the dataset is the same, and what each wrote.

DIR has a model that writes lists: `.cache/smollm2-135m-instruct`, from `pacos fetch smollm2`.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import generation_runs as runs
from benchmarks.result import report
from benchmarks.vllm_server import KEY_ENV, serving, tokens_by_replica


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--base", type=Path, required=True, help="a model that writes lists, such as .cache/smollm2-135m-instruct"
    )
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--target", type=int, default=60, help="tasks of the dataset")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    datasets = set()
    with tempfile.TemporaryDirectory() as folder:
        for count in options.replicas:
            tokens, dataset = generate(Path(folder), options.base.resolve(), count, options.target)
            figures[f"replicas_{count}"] = {"tokens_written_by_each": tokens}
            datasets.add(dataset["dataset.jsonl"])
    figures["same_bytes"] = len(datasets) == 1
    report("replicas", figures, settings={"replicas": options.replicas, "target": options.target}, save=options.save)


def generate(folder: Path, base: Path, replicas: int, target: int) -> tuple[list[int], dict[str, bytes]]:
    """(tokens written by each replica, the dataset's bytes) of a whole run."""
    with serving(base, folder, data_parallel_size=replicas, enforce_eager=True) as server:
        experiment = runs.write_experiment(
            folder,
            f"at-{replicas}",
            base=base,
            engine={"url": server.url, "api_key_env": KEY_ENV, "max_in_flight": 16},
            target=target,
            sampling={"temperature": 0.6, "max_tokens": 600, "seed": 0},
        )
        dataset = runs.run_whole(experiment)
        return tokens_by_replica(server), dataset


if __name__ == "__main__":
    main()
