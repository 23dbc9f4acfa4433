"""vLLM's CPU engine on the real model, by its defaults and as pacos starts it: `python -m benchmarks.cpu_engine`.

`--base` is SmolLM2-135M-Instruct as `pacos fetch smollm2` brings it. Every variant gets a server of its own, in turn:

- lists: prompts of the preset `alpaca`, all sent at once, `--tokens` tokens each; tokens generated a second, prefill
  included, and the seconds until the server answers.
- answers: prompts of demo/suite in the Alpaca template, greedy, up to 64 tokens; answers a second of the base, of an
  adapter of rank 16 on all linear layers, served as an adapter and as a merged copy.
"""

import argparse
import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.result import RESULTS, report
from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig
from pacos.downloads.smollm2 import FOLDER
from pacos.generate.prompting.request import RequestMaker
from pacos.seeds import PACKAGED_SEEDS, load_seeds
from pacos.serving.completion import Sampling
from pacos.serving.connect import open_engine
from pacos.serving.engine import Engine
from pacos.superni.prompts import prompt_preset
from pacos.superni.tasks import read_test_split
from pacos.tokenization import encode_prompts
from tests.support.tiny_llama import write_adapter

SUITE = Path(__file__).resolve().parents[1] / "demo" / "suite"
ANSWER_TOKENS = 64
# What keeps pacos from choosing: vLLM binds threads and keeps a core, and the cache is the single GiB of before.
VLLM_CHOOSES = {"VLLM_CPU_OMP_THREADS_BIND": "auto", "VLLM_CPU_KVCACHE_SPACE": "1"}
ALL_CORES = VLLM_CHOOSES | {"VLLM_CPU_NUM_OF_RESERVED_CPU": "0"}


@dataclass(frozen=True)
class Variant:
    dtype: str = "auto"
    environment: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, Any] = field(default_factory=dict)
    top_p: float = 1.0


LISTS = {
    "as before, top_p 0.95": Variant("bfloat16", VLLM_CHOOSES, {"enforce_eager": False, "max_num_seqs": 64}, 0.95),
    "as before": Variant("bfloat16", VLLM_CHOOSES, {"enforce_eager": False, "max_num_seqs": 64}),
    "one core reserved, eager": Variant("bfloat16", VLLM_CHOOSES),
    "no core reserved, eager": Variant("bfloat16", ALL_CORES),
    "in the engine's process, bfloat16": Variant("bfloat16"),
    "as pacos starts it, top_p 0.95": Variant(top_p=0.95),
    "as pacos starts it": Variant(),
    "as pacos starts it, compiled": Variant(args={"enforce_eager": False}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", type=Path, default=FOLDER)
    parser.add_argument("--lists", type=int, default=48, help="prompts of the lists' part")
    parser.add_argument("--tokens", type=int, default=250, help="tokens of each list")
    parser.add_argument("--answers", type=int, default=96, help="prompts of the answers' part")
    parser.add_argument("--only", choices=("lists", "answers"), help="one part alone; --save keeps the saved other one")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    saved = RESULTS / "cpu_engine.json"
    kept = json.loads(saved.read_text(encoding="utf-8"))["figures"] if options.only and saved.is_file() else {}
    figures: dict[str, Any] = dict(kept)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.only != "answers":
            figures["lists"] = {
                label: asyncio.run(measure_lists(options, variant, folder)) for label, variant in LISTS.items()
            }
            rates = {label: row["tokens_per_s"] for label, row in figures["lists"].items()}
            figures["tokens_per_s_against_before"] = {
                "both changes": round(rates["as pacos starts it"] / rates["as before, top_p 0.95"], 2),
                "the start alone": round(rates["as pacos starts it"] / rates["as before"], 2),
            }
        if options.only != "lists":
            adapter = write_adapter(options.base, folder / "adapter", scale=2e-3, seed=0, r=16)
            ways = {"base": {}, "adapter": {"adapter": adapter}, "merged": {"adapter": adapter}}
            figures["answers"] = {
                way: asyncio.run(measure_answers(options, way, folder, **values)) for way, values in ways.items()
            }
            rates = {way: row["answers_per_s"] for way, row in figures["answers"].items()}
            figures["merged_against_adapter"] = round(rates["merged"] / rates["adapter"], 2)
    report("cpu_engine", figures, settings={"cores": os.cpu_count(), **plain(options)}, save=options.save)


def plain(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in ("lists", "tokens", "answers")}


async def measure_lists(options: argparse.Namespace, variant: Variant, folder: Path) -> dict[str, float]:
    config = experiment(options.base, dtype=variant.dtype, args={"max_model_len": 3072, **variant.args})
    sampling = Sampling(options.tokens, temperature=0.7, top_p=variant.top_p)
    with changed_environment(variant.environment):
        began = time.monotonic()
        async with open_engine(config, folder) as engine:
            start = time.monotonic() - began
            maker = RequestMaker(config, load_seeds(PACKAGED_SEEDS), engine.tokenizer, engine.max_model_len)
            prompts = [maker.make(number).prompt_ids for number in range(options.lists)]
            await engine.complete(prompts[0], Sampling(4, temperature=0.7))
            began = time.monotonic()
            tokens = await generate(engine, prompts, sampling)
            seconds = time.monotonic() - began
    return {"start_s": round(start, 1), "tokens_per_s": round(tokens / seconds, 1), "in_flight": engine.in_flight}


async def measure_answers(
    options: argparse.Namespace, way: str, folder: Path, adapter: Path | None = None
) -> dict[str, float]:
    config = experiment(options.base, serve="merged" if way == "merged" else "adapter")
    began = time.monotonic()
    async with open_engine(config, folder, adapters={"tuned": adapter} if adapter else {}) as engine:
        start = time.monotonic() - began
        instances = read_test_split(SUITE).instances
        texts = [prompt_preset("alpaca").render(one) for one in instances[:: len(instances) // options.answers]]
        prompts = encode_prompts(engine.tokenizer, texts)[: options.answers]
        name = "tuned" if adapter else None
        await engine.complete(prompts[0], Sampling(4), adapter=name)
        began = time.monotonic()
        await generate(engine, prompts, Sampling(ANSWER_TOKENS), adapter=name)
        seconds = time.monotonic() - began
    return {"start_s": round(start, 1), "answers_per_s": round(len(prompts) / seconds, 2)}


async def generate(engine: Engine, prompts: list[list[int]], sampling: Sampling, *, adapter: str | None = None) -> int:
    """Send all prompts; the tokens that were generated."""
    answers = await asyncio.gather(*(engine.complete(ids, sampling, adapter=adapter) for ids in prompts))
    return sum(answer.completion_tokens for answer in answers)


def experiment(
    base: Path, *, dtype: str = "auto", args: Mapping[str, Any] | None = None, serve: str = "auto"
) -> Config:
    return Config(
        name="cpu-engine",
        model=ModelConfig(base=str(base), dtype=dtype),
        engine=EngineConfig(args=dict(args or {"max_model_len": 2048})),
        evaluate=EvaluateConfig(serve=serve),
    )


@contextlib.contextmanager
def changed_environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main()
