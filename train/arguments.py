"""Parses the command line of `train.py`: `--config FILE key=value …`, and the flags of Hugging Face's scripts.

--config FILE               an experiment; not needed where a model and data are named
key=value                   any key of docs/configuration.md, as train.lora.r=8
--model_name_or_path MODEL  --data_path FILE  --output_dir DIR  (the adapter: DIR/train/adapter)
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from pacos.config import Config, load_config
from pacos.errors import ConfigError

ALIASES = {
    "model_name_or_path": "train.model",
    "data_path": "train.data",
    "output_dir": "runs_dir",
    "num_train_epochs": "train.epochs",
    "max_steps": "train.max_steps",
    "learning_rate": "train.learning_rate",
    "lr_scheduler_type": "train.schedule",
    "warmup_ratio": "train.warmup_ratio",
    "weight_decay": "train.weight_decay",
    "max_grad_norm": "train.max_grad_norm",
    "model_max_length": "train.max_length",
    "gradient_checkpointing": "train.checkpointing",
    "save_steps": "train.save_steps",
    "save_total_limit": "train.keep",
    "report_to": "train.report_to",
    "lora_r": "train.lora.r",
    "lora_alpha": "train.lora.alpha",
    "lora_dropout": "train.lora.dropout",
    "seed": "seed",
}


def parse_arguments(arguments: Sequence[str]) -> Config:
    """The configuration of a command line.

    Raises ConfigError: an unknown flag (naming the nearest), a flag without a value, or what load_config raises.
    """
    file: Path | None = None
    overrides: list[str] = []
    for flag, value in read_flags(arguments):
        if flag == "config":
            file = Path(value)
        elif not flag:
            overrides.append(value)
        elif flag in ALIASES:
            overrides += as_overrides(flag, value)
        else:
            near = difflib.get_close_matches(flag, ["config", *ALIASES], n=1, cutoff=0.5)
            hint = f"did you mean --{near[0]}?" if near else "every setting can be given as key=value"
            raise ConfigError(f"unknown flag --{flag}", where="command line", todo=hint)
    if file is None:
        overrides = [text.replace("train.model=", "model.base=", 1) for text in ["name=sft", *overrides]]
    return load_config(file, overrides)


def as_overrides(flag: str, value: str) -> list[str]:
    """A Hugging Face flag as key=value; values are quoted as JSON, which is valid YAML for any text."""
    if flag == "data_path":
        return [f"train.data={json.dumps([{'path': value}])}"]
    if flag == "output_dir":
        folder = Path(value)
        return [f"runs_dir={json.dumps(str(folder.parent))}", f"name={json.dumps(folder.name)}"]
    return [f"{ALIASES[flag]}={value}"]


def read_flags(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """("name", value) for `--name value` and `--name=value`; ("", word) for anything else."""
    words = iter(arguments)
    for word in words:
        if not word.startswith("--"):
            yield "", word
            continue
        flag, equals, value = word.removeprefix("--").partition("=")
        if not equals and (value := next(words, "--")).startswith("--"):
            raise ConfigError(f"--{flag} needs a value", where="command line")
        yield flag.replace("-", "_"), value
