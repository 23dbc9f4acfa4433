"""Does the evaluation keep the engine full? `python -m benchmarks.evaluation_throughput [--save]`.

One running server (prefix caching off, so that the order of the runs does not matter), with the model, adapters and
tasks of benchmarks/adapters.py. Answers per second, from the first request to the last answer:

    together    pacos evaluate, base and four adapters interleaved
    single      pacos evaluate, base and one adapter
    bare        the same requests as `together` from a minimal client (bare_client.py)
"""

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.adapters import CONTEXT, IN_FLIGHT, build_models
from benchmarks.bare_client import send_all
from benchmarks.result import SHARED_DATA, report
from benchmarks.vllm_server import KEY_ENV, serving
from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, ModelEntry, SuiteConfig
from pacos.evaluate.pipeline import main as evaluate
from pacos.evaluate.prompts import fit_prompts
from pacos.models import load_tokenizer
from pacos.runs import Run
from pacos.serving.adapter_check import MIXED_TOKENS
from pacos.serving.completion import Completion, Sampling
from pacos.serving.engine import Engine, served_name
from pacos.serving.flags import SERVED_NAME
from pacos.superni.prompts import prompt_preset
from pacos.superni.suites import read_suite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instances", type=int, default=20, help="of each task")
    parser.add_argument("--max-tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--rounds", type=int, default=4, help="of all three; ratios are the median of the rounds'")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder), options.instances, options.max_tokens, options.rounds)
    settings = {name: value for name, value in vars(options).items() if name != "save"} | {"in_flight": IN_FLIGHT}
    report("evaluation_throughput", figures, settings=settings, save=options.save)


def measure(folder: Path, instances: int, max_tokens: int, rounds: int) -> dict[str, Any]:
    base, *adapters = build_models(folder)
    suite = SuiteConfig(
        name="superni",
        path=str(SHARED_DATA / "superni"),
        prompt="tk-instruct:def",
        limit=instances,
        max_tokens=max_tokens,
    )
    rates: dict[str, list[float]] = {"together": [], "single": [], "bare": []}
    with serving(base, folder, adapters, max_num_seqs=IN_FLIGHT, enable_prefix_caching=False) as server:
        engine = EngineConfig(url=server.url, api_key_env=KEY_ENV, max_in_flight=IN_FLIGHT)
        for number in range(rounds):
            for name, taking_part in (("together", adapters), ("single", adapters[:1])):
                config = experiment(f"{name}-{number}", folder, base, engine, suite, taking_part)
                rates[name].append(ours(config))
            models = [SERVED_NAME, *map(served_name, adapters)]
            rates["bare"].append(bare(engine, base, suite, models))
    return {
        **{f"{name}_answers_per_s": [round(rate, 1) for rate in of_rounds] for name, of_rounds in rates.items()},
        **{f"together_to_{name}": median_ratio(rates["together"], rates[name]) for name in ("single", "bare")},
    }


def median_ratio(some: Sequence[float], others: Sequence[float]) -> float:
    return round(statistics.median(one / other for one, other in zip(some, others, strict=True)), 3)


def experiment(
    name: str, folder: Path, base: Path, engine: EngineConfig, suite: SuiteConfig, adapters: Sequence[Path]
) -> Config:
    models = [ModelEntry(name=adapter.name, adapter=str(adapter)) for adapter in adapters]
    return Config(
        name=name,
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=engine,
        evaluate=EvaluateConfig(suites=[suite], models=models),
    )


def ours(config: Config) -> float:
    """Answers per second of `pacos evaluate`, without start-up, adapter check and scoring at the end."""
    times: list[float] = []
    complete = Engine.complete

    async def timed(self: Engine, ids: list[int], sampling: Sampling, *, adapter: str | None = None) -> Completion:
        began = time.perf_counter()
        answer = await complete(self, ids, sampling, adapter=adapter)
        if sampling.max_tokens != MIXED_TOKENS:
            times.extend((began, time.perf_counter()))
        return answer

    Engine.complete = timed  # type: ignore[method-assign]
    try:
        with Run.open(config) as run:
            evaluate(config, run)
    finally:
        Engine.complete = complete  # type: ignore[method-assign]
    return len(times) / 2 / (max(times) - min(times))


def bare(engine: EngineConfig, base: Path, suite: SuiteConfig, models: Sequence[str]) -> float:
    """Answers per second to the same prompts, asked for as fast as `IN_FLIGHT` requests at a time allow."""
    tokenizer = load_tokenizer(str(base), ModelConfig(base=str(base)))
    instances = read_suite(Path(suite.path), suite.limit).instances
    prompts = fit_prompts(tokenizer, prompt_preset(suite.prompt), instances, CONTEXT - suite.answer_tokens)
    fixed = {"max_tokens": suite.answer_tokens, "temperature": 0.0}
    bodies = [
        json.dumps({"model": model, "prompt": prompt.ids, **fixed}).encode() for prompt in prompts for model in models
    ]
    began = time.perf_counter()
    asyncio.run(send_all(str(engine.url), bodies, IN_FLIGHT))
    return len(bodies) / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
