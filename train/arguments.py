"""The command line of `train.py`: `--config FILE key=value …`, and the flags of Hugging Face's scripts."""

import argparse
import difflib
import json
from collections.abc import Sequence
from pathlib import Path

from pacos.config import Config, load_config
from pacos.errors import ConfigError

USAGE = """
  accelerate launch train.py --config CONFIG.yaml [key=value …]
  accelerate launch train.py --model_name_or_path MODEL --data_path TASKS.jsonl --output_dir runs/NAME

On several GPUs:  accelerate launch --config_file configs/accelerate/ddp.yaml train.py --config CONFIG.yaml
`pacos config` lists every key."""

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
    "load_best_model_at_end": "train.keep_best",
    "report_to": "train.report_to",
    "lora_r": "train.lora.r",
    "lora_alpha": "train.lora.alpha",
    "lora_dropout": "train.lora.dropout",
    "seed": "seed",
}


def parse_arguments(arguments: Sequence[str]) -> tuple[Config, bool]:
    """Return the configuration of a command line, and whether only the plan is wanted; key=value wins over flags.

    Raises ConfigError: an unknown flag (naming the nearest), a flag without a value, or what load_config raises.
    """
    try:
        given, unknown = command_line().parse_known_intermixed_args(arguments)
    except argparse.ArgumentError as wrong:
        raise ConfigError(f"{wrong.argument_name}: {wrong.message}", where="command line") from None
    if unknown:
        flag = unknown[0].partition("=")[0]
        near = difflib.get_close_matches(flag, [f"--{name}" for name in ALIASES], n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else "every setting can be given as key=value"
        raise ConfigError(f"unknown flag {flag}", where="command line", todo=hint)
    overrides: list[str] = []
    for flag in ALIASES:
        if (value := getattr(given, flag)) is not None:
            overrides += as_overrides(flag, value)
    overrides += given.overrides
    if given.config is None:
        overrides = [text.replace("train.model=", "model.base=", 1) for text in ["name=sft", *overrides]]
    return load_config(given.config, overrides), given.dry_run


def command_line() -> argparse.ArgumentParser:
    """Return the parser of train.py's options; flags may be spelled with `-` or `_`."""
    parser = argparse.ArgumentParser(
        prog="train.py", usage=USAGE, allow_abbrev=False, exit_on_error=False, add_help=False
    )
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="any key, as train.lora.r=8")
    parser.add_argument("--config", type=Path, metavar="FILE", help="an experiment; not needed with a model and data")
    parser.add_argument("--dry-run", action="store_true", help="show the plan and start nothing")
    for flag, key in ALIASES.items():
        spellings = dict.fromkeys((f"--{flag}", f"--{flag.replace('_', '-')}"))
        parser.add_argument(*spellings, dest=flag, metavar="VALUE", help=key)
    return parser


def as_overrides(flag: str, value: str) -> list[str]:
    """A Hugging Face flag as key=value; values are quoted as JSON, which is valid YAML for any text."""
    if flag == "data_path":
        return [f"train.data={json.dumps([{'path': value}])}"]
    if flag == "output_dir":
        folder = Path(value)
        return [f"runs_dir={json.dumps(str(folder.parent))}", f"name={json.dumps(folder.name)}"]
    return [f"{ALIASES[flag]}={value}"]
