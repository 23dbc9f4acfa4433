"""A learning rate to start from, where `train.learning_rate` is auto.

    rate = 5e-5 · m · (2000 / hidden size)^p        m = 10 for LoRA, 1 for full tuning

Thinking Machines found the best rate of LoRA to be about ten times that of full tuning, and nearly independent of the
rank, with alpha 32 and updates scaled by alpha / r (Schulman et al., LoRA Without Regret, 2025). Base rate and
exponents are those that their tinker-cookbook fits to Llama and Qwen models (`hyperparam_utils.py`). It is a value to
begin a sweep with, not one to trust.
"""

import logging
from dataclasses import dataclass

from pacos.config import Config, with_values
from pacos.errors import ConfigError
from pacos.models import load_model_config

log = logging.getLogger("pacos")

BASE_RATE, LORA_FACTOR, REFERENCE_SIZE = 5e-5, 10.0, 2000
EXPONENTS = {"llama": 0.781, "qwen": 0.0775}
ALPHA = 32


@dataclass(frozen=True, slots=True)
class StartingRate:
    """A rate, and how it came about, for people."""

    rate: float
    formula: str


def with_starting_rate(config: Config) -> Config:
    """The experiment with a number for `train.learning_rate`; it is logged where it was auto. Raises as
    `starting_rate`."""
    if config.train.learning_rate != "auto":
        return config
    found = starting_rate(config)
    log.info("train: %s", found.formula)
    return with_values(config, {"train.learning_rate": found.rate})


def starting_rate(config: Config) -> StartingRate:
    """The rate to start from for the model that is tuned.

    Raises ConfigError for preference training, for which there is no such fit; ModelError as `load_model_config`.
    """
    train = config.train
    if train.objective != "sft":
        raise ConfigError(
            "auto is a rate for supervised training", where="train.learning_rate", todo="give a number, such as 5e-6"
        )
    settings = load_model_config(config.student, config.model).get_text_config()
    size, family = int(settings.hidden_size), str(settings.model_type)
    exponent = next((value for name, value in EXPONENTS.items() if family.startswith(name)), 0.0)
    factor = 1.0 if train.method == "full" else LORA_FACTOR
    rate = float(f"{BASE_RATE * factor * (REFERENCE_SIZE / size) ** exponent:.2g}")
    formula = f"learning rate auto: {BASE_RATE:g} × {factor:g} × ({REFERENCE_SIZE} / {size})^{exponent:g} = {rate:g}"
    notes = []
    if not exponent:
        notes.append(f"no exponent is known for {family}, and its size is left out")
    if train.method != "full" and (train.lora.rslora or train.lora.alpha != ALPHA):
        notes.append(f"it was found with alpha {ALPHA} and updates scaled by alpha / r")
    return StartingRate(rate, "; ".join([f"{formula} (LoRA Without Regret)", *notes]))
