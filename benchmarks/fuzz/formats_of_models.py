"""The files of models and adapters, and of what trains them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks.fuzz.files import Form, Format
from pacos.config import ModelConfig, TrainConfig
from pacos.files import write_json
from pacos.models import load_model_config, load_tokenizer, model_sha256, resolve_model
from pacos.train.export.card import base_licence
from pacos.train.launch import process_count
from pacos.train.optimization.reference import read_logps
from tests.support.tiny_llama import build_tiny_llama, write_adapter

CARD = """---
license: apache-2.0
license_name: apache
tags: [llama]
---

# A model
"""

ACCELERATE = """compute_environment: LOCAL_MACHINE
distributed_type: MULTI_GPU
num_processes: 4
mixed_precision: bf16
"""


def model_formats(folder: Path) -> Iterator[Format]:
    base = build_tiny_llama(folder / "base")
    yield from _adapter(base, folder / "adapter")
    weights = base / "model.safetensors"
    settings = ModelConfig(base=str(base))
    yield Format("base: weights", weights, "safetensors", lambda: model_sha256(str(base), settings))
    yield from _base(Path(shutil.copytree(base, folder / "other-base")))
    file = folder / "accelerate.yaml"
    file.write_text(ACCELERATE, encoding="utf-8")
    yield Format("accelerate's config", file, "text", lambda: process_count(TrainConfig(accelerate=str(file))))
    cache = folder / "logps.safetensors"
    save_file({"logps": np.array([-1.0, -2.0])}, cache)
    yield Format("cache of log-probabilities", cache, "safetensors", lambda: read_logps(cache, 2))


def _adapter(base: Path, adapter: Path) -> Iterator[Format]:
    write_adapter(base, adapter, 0.1, 0)
    write_json(adapter / "pacos.json", {"base": "x", "base_sha256": "", "template": "alpaca", "template_sha256": "z"})

    def resolved() -> dict[str, object]:
        found = resolve_model(str(base), ModelConfig(base=str(base)), adapter)
        return {"sha256": found.sha256, "rank": found.rank, "template": found.template}

    forms: dict[str, Form] = {"adapter_model.safetensors": "safetensors", "pacos.json": "object"}
    for name, form in forms.items():
        yield Format(f"adapter: {name}", adapter / name, form, resolved)
    yield Format("adapter: adapter_config.json", adapter / "adapter_config.json", "object", resolved, foreign=True)


def _base(folder: Path) -> Iterator[Format]:
    settings, name = ModelConfig(base=str(folder)), str(folder)
    config = folder / "config.json"
    # As a text: Mamba's own time_step_limit is infinite.
    yield Format(
        "base: config.json", config, "object", lambda: repr(load_model_config(name, settings).to_dict()), foreign=True
    )
    for file in ("tokenizer_config.json", "tokenizer.json"):
        yield Format(
            f"base: {file}", folder / file, "object", lambda: len(load_tokenizer(name, settings)), foreign=True
        )
    card = folder / "README.md"
    card.write_text(CARD, encoding="utf-8")
    yield Format("base: README.md", card, "bytes", lambda: base_licence(name, settings))
