"""What helps a small teacher: `python -m benchmarks.small_teacher [--base FOLDER] [--save]`.

SmolLM2-135M-Instruct writes task lists under one changed setting at a time, all on one server. Each variant sends
the same number of requests; the figure is how many tasks pass the filters per thousand tokens that the model wrote,
since on a CPU tokens determine the time. Long lists are also broken down by the position of accepted tasks.
"""

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.result import report
from benchmarks.vllm_server import KEY_ENV, serving
from pacos.config import Config, load_config
from pacos.downloads.smollm2 import FOLDER
from pacos.generate import pipeline
from pacos.generate.journal import read_responses
from pacos.records import DatasetRow, read_records
from pacos.results import read_result
from pacos.results.dataset import DatasetStats
from pacos.runs import Run

CONTEXT = 3072
BASELINE = ("generate.sampling.temperature=0.7", "generate.sampling.max_tokens=500", "generate.seeds_per_request=3")
VARIANTS: dict[str, tuple[str, ...]] = {
    "T 0.7, 500 tokens, 3 examples": (),
    "T 0.5": ("generate.sampling.temperature=0.5",),
    "T 0.9": ("generate.sampling.temperature=0.9",),
    "T 1.0": ("generate.sampling.temperature=1.0",),
    "300 tokens": ("generate.sampling.max_tokens=300",),
    "1,000 tokens": ("generate.sampling.max_tokens=1000",),
    "2,000 tokens": ("generate.sampling.max_tokens=2000",),
    "1 example": ("generate.seeds_per_request=1",),
    "6 examples": ("generate.seeds_per_request=6",),
    "asked as a chat": ("model.chat=true",),
    "presence penalty 0.5": ("generate.sampling.presence_penalty=0.5",),
    "no defect detectors": ("generate.filters.defects=false",),
}
BAND = 250  # tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=FOLDER)
    parser.add_argument("--requests", type=int, default=32)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(options.base, folder, max_model_len=CONTEXT) as server:
            for number, (label, overrides) in enumerate(VARIANTS.items()):
                config = load_config(
                    Path("configs/quickstart.yaml"),
                    [
                        f"name=variant-{number}",
                        f"runs_dir={folder}",
                        f"model.base={options.base.resolve()}",
                        f"engine={{url: '{server.url}', api_key_env: {KEY_ENV}, max_in_flight: 32}}",
                        f"generate.budget.requests={options.requests}",
                        "generate.target=100000",
                        *BASELINE,
                        *overrides,
                    ],
                )
                figures[label] = measure(config)
    report(
        "small_teacher", figures, settings={"requests": options.requests, "cores": os.cpu_count()}, save=options.save
    )


def measure(config: Config) -> dict[str, Any]:
    with Run.open(config) as run:
        pipeline.main(config, run)
    stats = read_result(run.dataset / "stats.json", DatasetStats, todo="run the benchmark again")
    funnel, tokens = stats.funnel, stats.tokens.completion
    rejected = dict(Counter(funnel.rejected).most_common(4))
    return {
        "items": funnel.items,
        "accepted": funnel.accepted,
        "tokens": tokens,
        "accepted_per_1000_tokens": round(1000 * funnel.accepted / tokens, 2),
        "seconds": round(stats.seconds, 1),
        "rejected": rejected,
        "by_position": by_position(run.dataset),
    }


def by_position(folder: Path) -> dict[str, float]:
    """{first token of a band: tasks accepted per 1,000 tokens written in it}."""
    answers = read_responses(folder / "responses.jsonl")
    accepted, written = Counter[int](), Counter[int]()
    for answer in answers.values():
        for first in range(0, answer.completion_tokens, BAND):
            written[first] += min(BAND, answer.completion_tokens - first)
    for task in read_records(folder / "dataset.jsonl", DatasetRow):
        answer = answers[task.request]
        share = max(0, answer.text.find(task.instruction[:40])) / max(1, len(answer.text))
        accepted[int(share * answer.completion_tokens) // BAND * BAND] += 1
    return {str(first): round(1000 * accepted[first] / written[first], 2) for first in sorted(written)}


if __name__ == "__main__":
    main()
