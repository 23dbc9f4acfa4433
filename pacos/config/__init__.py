"""Every key of an experiment, with its type, its default and what it may be: a file a section.

    config = load_config(Path("configs/quickstart.yaml"), ["train.lora.r=8"])

`docs/configuration.md` and `pacos config` are written from here.
"""

from pacos.config.engine import EngineConfig, ModelConfig, TokenPrice
from pacos.config.evaluate import EvaluateConfig, JudgeConfig, ModelEntry, SuiteConfig
from pacos.config.experiment import Config, resolved_yaml, section_sha256
from pacos.config.generate import (
    BudgetConfig,
    ClassifyConfig,
    FiltersConfig,
    GenerateConfig,
    InstancesConfig,
    LimitsConfig,
    SamplingConfig,
)
from pacos.config.loading import load_config, parse_config, with_values
from pacos.config.loop import AnswersConfig, LoopConfig, StopsConfig
from pacos.config.section import Section
from pacos.config.train import DataSource, DpoConfig, LoraConfig, TrainConfig

__all__ = [
    "AnswersConfig",
    "BudgetConfig",
    "ClassifyConfig",
    "Config",
    "DataSource",
    "DpoConfig",
    "EngineConfig",
    "EvaluateConfig",
    "FiltersConfig",
    "GenerateConfig",
    "InstancesConfig",
    "JudgeConfig",
    "LimitsConfig",
    "LoopConfig",
    "LoraConfig",
    "ModelConfig",
    "ModelEntry",
    "SamplingConfig",
    "Section",
    "StopsConfig",
    "SuiteConfig",
    "TokenPrice",
    "TrainConfig",
    "load_config",
    "parse_config",
    "resolved_yaml",
    "section_sha256",
    "with_values",
]
