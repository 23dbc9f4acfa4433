"""The whole of an experiment. Sections are frozen; a stage takes its own section.

`resolved_yaml` writes everything back, so that the run directory's `config.yaml` runs again.
"""

import hashlib
import json
from pathlib import Path

from pydantic import BaseModel, Field

from pacos.config.engine import EngineConfig, ModelConfig
from pacos.config.evaluate import EvaluateConfig
from pacos.config.generate import GenerateConfig
from pacos.config.loop import AnswersConfig, LoopConfig
from pacos.config.section import Name, Section
from pacos.config.train import TrainConfig
from pacos.config.yaml_text import write_yaml


class Config(Section):
    """One YAML file is one experiment."""

    name: Name = Field(description="Of the run directory; the file's own name unless given.")
    seed: int = Field(42, description="All randomness of the experiment but the engine's.")
    runs_dir: str = Field("runs", description="Folder of the run directories.")
    model: ModelConfig
    engine: EngineConfig = EngineConfig()
    generate: GenerateConfig = GenerateConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    answers: AnswersConfig = AnswersConfig()
    loop: LoopConfig = LoopConfig()

    @property
    def teacher(self) -> str:
        """The model that writes: `engine.model`, or `model.base`."""
        return self.engine.model or self.model.base

    @property
    def student(self) -> str:
        """The model that is tuned, and whose adapters are evaluated: `train.model`, or `model.base`."""
        return self.train.model or self.model.base

    @property
    def run_dir(self) -> Path:
        """The run directory, `<runs_dir>/<name>`."""
        return Path(self.runs_dir) / self.name


def resolved_yaml(config: Config) -> str:
    """Every key with its value, in the order of its section; loading it gives an equal config."""
    return write_yaml(config.model_dump(mode="json"))


def section_sha256(*sections: object) -> str:
    """Hash of the values that decide a stage's result; a changed hash means another result is due."""
    plain = [part.model_dump(mode="json") if isinstance(part, BaseModel) else part for part in sections]
    return hashlib.sha256(json.dumps(plain, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
