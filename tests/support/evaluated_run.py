"""An evaluation inside this process: its configuration, and the run."""

from pathlib import Path

from pacos.config import Config, EngineConfig, EvaluateConfig, ModelConfig, ModelEntry, SuiteConfig
from pacos.evaluate.pipeline import main
from pacos.runs import Run


def experiment(base: Path, engine: EngineConfig, folder: Path, suites: list[SuiteConfig], **models: Path) -> Config:
    """The base and adapters on suites; `models` are {name: adapter}."""
    entries = [ModelEntry(name=name, adapter=str(path)) for name, path in models.items()]
    return Config(
        name="run",
        runs_dir=str(folder / "runs"),
        model=ModelConfig(base=str(base), dtype="float32"),
        engine=engine,
        evaluate=EvaluateConfig(suites=suites, models=entries),
    )


def evaluate(config: Config) -> Path:
    """Evaluate, and return the run's `eval/`."""
    with Run.open(config) as run:
        main(config, run)
    return config.run_dir / "eval"
