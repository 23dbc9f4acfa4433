"""Small runs of the generation stage against a scripted server."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pacos.config import Config, parse_config
from pacos.generate import pipeline
from pacos.runs import Run
from tests.support.scripted_server import Prompt


def experiment(
    tmp_path: Path, base: Path, url: str, seeds: Path | None, *, name: str = "run", in_flight: int = 8, **generate: Any
) -> Config:
    values = {
        "name": name,
        "runs_dir": str(tmp_path / "runs"),
        "model": {"base": str(base)},
        "engine": {"url": url, "max_in_flight": in_flight},
        "generate": {"seeds": str(seeds) if seeds else None, "target": 100, "window": 32, **generate},
    }
    return parse_config(values, where="test")


def generate(config: Config) -> dict[str, bytes]:
    """Run the stage; return the derived files' bytes."""
    with Run.open(config) as run:
        pipeline.main(config, run)
    return derived(config)


def derived(config: Config) -> dict[str, bytes]:
    folder = config.run_dir / "dataset"
    return {name: (folder / name).read_bytes() for name in ("dataset.jsonl", "rejected.jsonl", "alpaca_data.json")}


def stats_of(config: Config) -> dict[str, Any]:
    return dict(json.loads((config.run_dir / "dataset" / "stats.json").read_text(encoding="utf-8")))


def jitter(prompt: Prompt) -> float:
    """A delay of up to 60 ms that depends on the prompt, so that answers come out of order."""
    return hashlib.sha256(repr(prompt).encode()).digest()[0] / 4000
