"""Self-Instruct on a real model, scored on real SuperNI tasks: `python -m benchmarks.real_model --runs DIR [--save]`.

SmolLM2-135M-Instruct as it is, and tuned with the settings of configs/quickstart.yaml on:

- `own-N`: the first N tasks that it wrote itself (preset `alpaca`)
- `self-instruct-N`: all tasks of N instructions that it wrote itself (preset `self-instruct`)
- `seeds`: the 175 official seed tasks' instances, which people wrote
- `alpaca-N`: N rows of the released Alpaca set, drawn with the seed

Scores are ROUGE-L in the Alpaca template on the 32 tasks of the shared data, 20 instances each, greedy, up to 64
tokens; intervals are paired and clustered by task, p-values Holm's over all models. Every step is a run directory in
DIR: stopped anywhere, the same command resumes. `--own`, `--self-instruct` and `--alpaca` take several sizes.
"""

import argparse
import gzip
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.result import SHARED_DATA, report
from pacos.downloads.smollm2 import FOLDER
from pacos.files import write_jsonl
from pacos.seeds import load_seeds

CONFIG = Path("configs/quickstart.yaml")
INSTANCES, MAX_TOKENS = 20, 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=FOLDER)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the run directories")
    parser.add_argument("--own", type=int, nargs="+", default=[100, 300])
    parser.add_argument("--self-instruct", type=int, nargs="+", default=[100])
    parser.add_argument("--alpaca", type=int, nargs="+", default=[1000])
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    bench = Bench(options.base.resolve(), options.runs.resolve(), options.seed)
    own = bench.generate("own", max(options.own))
    sources = {f"own-{size}": own | {"limit": size} for size in options.own}
    for size in options.self_instruct:
        sources[f"self-instruct-{size}"] = bench.generate(f"self-instruct-{size}", size, *SELF_INSTRUCT)
    sources |= bench.write_data(options.alpaca)
    adapters = {name: bench.train(name, source) for name, source in sources.items()}
    settings = {"instances": INSTANCES, "max_tokens": MAX_TOKENS, "seed": options.seed, "cores": os.cpu_count()}
    figures = {"models": bench.evaluate(adapters), "generation": bench.generation(), "seconds": bench.seconds}
    report("real_model", figures, settings=settings, save=options.save)


# The preset's own sampling but for top_p, which a CPU pays for, and for lists that a small model can finish.
SELF_INSTRUCT = ("generate.preset=self-instruct", "generate.sampling.top_p=1.0", "generate.sampling.max_tokens=300")


class Bench:
    """The steps, each a `pacos` command on a run directory of its own; `seconds` are those of this session."""

    def __init__(self, base: Path, runs: Path, seed: int) -> None:
        self._runs, self._seed = runs, seed
        self._shared = [f"model.base={base}", f"runs_dir={runs}", f"seed={seed}"]
        self.seconds: dict[str, float] = {}

    def generate(self, name: str, target: int, *overrides: str) -> dict[str, Any]:
        """The source that holds what the model wrote."""
        self._pacos("generate", name, f"generate.target={target}", *overrides)
        return {"path": str(self._runs / name / "dataset" / "dataset.jsonl")}

    def write_data(self, alpaca_sizes: Iterable[int]) -> dict[str, dict[str, Any]]:
        """{name: source} of the tasks that people or text-davinci-003 wrote."""
        seeds = load_seeds(SHARED_DATA / "self_instruct" / "seed_tasks.jsonl")
        write_jsonl(self._runs / "seeds.jsonl", [asdict(seed.task) for seed in seeds])
        sources = {"seeds": {"path": str(self._runs / "seeds.jsonl")}}
        with gzip.open(SHARED_DATA / "alpaca" / "alpaca_52k.jsonl.gz", "rt", encoding="utf-8") as lines:
            rows = [json.loads(line) for line in lines]
        for size in alpaca_sizes:
            path = self._runs / f"alpaca-{size}.jsonl"
            write_jsonl(path, random.Random(self._seed).sample(rows, size))
            sources[f"alpaca-{size}"] = {"path": str(path)}
        return sources

    def train(self, name: str, source: Mapping[str, Any]) -> Path:
        run = f"tuned-{name}"
        self._pacos("train", run, f"train.data=[{json.dumps(source)}]")
        return self._runs / run / "train" / "adapter"

    def evaluate(self, adapters: Mapping[str, Path]) -> dict[str, Any]:
        models = [{"name": name, "adapter": str(path)} for name, path in adapters.items()]
        suite = {"name": "superni", "path": str(SHARED_DATA / "superni"), "limit": INSTANCES, "max_tokens": MAX_TOKENS}
        overrides = (f"evaluate.models={json.dumps(models)}", f"evaluate.suites={json.dumps([suite])}")
        self._pacos("evaluate", "scores", *overrides)
        comparison = self._read("scores", "eval", "comparison.json")
        rows = {"base": {"rougeL": comparison["base"]["rougeL"], "exact_match": comparison["base"]["exact_match"]}}
        for model in comparison["contestants"]:
            against = model["against_base"]["rougeL"]
            kept = ("difference", "low", "high", "p_holm", "wins", "losses")
            rows[model["name"]] = {"rougeL": model["rougeL"], "exact_match": model["exact_match"]}
            rows[model["name"]] |= {key: against[key] for key in kept}
        for name, row in rows.items():
            row["first_line"] = self._read("scores", "eval", name, "scores.json")["first_line"]["rougeL"]
        return {name: {key: round(value, 4) for key, value in row.items()} for name, row in rows.items()}

    def generation(self) -> dict[str, Any]:
        kept = {}
        for path in sorted(self._runs.glob("*/dataset/stats.json")):
            stats = json.loads(path.read_text(encoding="utf-8"))
            kept[path.parents[1].name] = {key: stats[key] for key in ("funnel", "tokens", "seconds", "stopped_by")}
        return kept

    def _pacos(self, command: str, name: str, *overrides: str) -> None:
        began = time.monotonic()
        words = ["--config", str(CONFIG), f"name={name}", *self._shared, *overrides]
        subprocess.run([sys.executable, "-m", "pacos.cli", command, *words], check=True)
        self.seconds[f"{command} {name}"] = round(time.monotonic() - began, 1)

    def _read(self, *parts: str) -> Any:
        return json.loads(self._runs.joinpath(*parts).read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
