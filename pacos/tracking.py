"""Reports a run to a tracker (tensorboard, wandb, trackio, MLflow) through accelerate's classes.

Training sends its configuration and its metrics; the scores and the report follow once there are some, from another
process. `tracker.json` says by what the tracker knows the run, so that a resumed training and the scores join it.
Where the data goes is the tracker's own affair (WANDB_MODE, TRACKIO_DIR, MLFLOW_TRACKING_URI and so on).
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pacos.config import Config
from pacos.errors import RunError
from pacos.results import read_result, write_result
from pacos.results.comparison import ComparedBase, ComparedModel, Comparison
from pacos.results.tracking import TrackedRun

if TYPE_CHECKING:
    from accelerate import Accelerator

PROJECT = "pacos"
PACKAGES = {"mlflow": "mlflow (or mlflow-skinny)"}

# What holds addresses of servers, and flags that may be keys.
NOT_SENT = {"engine"}


class Tracker:
    """What differs between trackers. This one is tensorboard, which has neither runs to join nor files."""

    name = "tensorboard"
    project = "tensorboard"  # a folder below `train/`

    def options(self, config: Config, joined: str | None) -> dict[str, Any]:
        """Arguments of accelerate's tracker: for the run `joined`, or a new one."""
        return {}

    def run(self, tracker: Any) -> str:
        """By what the tracker knows the run."""
        return str(tracker.logging_dir)

    def send_page(self, tracker: Any, config: Config, page: Path) -> None:
        """Attach the report to the run."""
        tracker.log({"report": str(page.resolve())})


class Wandb(Tracker):
    """Weights & Biases. The command line and the console are not sent: flags and tracebacks may hold keys."""

    name, project = "wandb", PROJECT

    def options(self, config: Config, joined: str | None) -> dict[str, Any]:
        import wandb

        quiet = wandb.Settings(console="off", disable_git=True, disable_code=True, x_disable_meta=True)
        return {"name": config.name, "id": joined, "resume": "allow", "dir": _folder(config), "settings": quiet}

    def run(self, tracker: Any) -> str:
        return str(tracker.run.id)

    def send_page(self, tracker: Any, config: Config, page: Path) -> None:
        import wandb

        artifact = wandb.Artifact(f"{config.name}-report", type="report")
        artifact.add_file(str(page))
        tracker.run.log_artifact(artifact)


class Trackio(Tracker):
    """trackio, which keeps its runs on this machine unless it is told of a Space."""

    name, project = "trackio", PROJECT

    def options(self, config: Config, joined: str | None) -> dict[str, Any]:
        # A run that is joined forgets its configuration unless it is given again.
        options = {"name": joined or config.name, "config": flat_config(config), "embed": False}
        return options | {"resume": "allow" if joined else "never"}

    def run(self, tracker: Any) -> str:
        return str(tracker.run.name)

    def send_page(self, tracker: Any, config: Config, page: Path) -> None:
        tracker.run.log_artifact(str(page), name=f"{config.name}-report", type="report")


class MLflow(Tracker):
    """MLflow, at a server or in a local store."""

    name, project = "mlflow", PROJECT

    def options(self, config: Config, joined: str | None) -> dict[str, Any]:
        return {"run_id": joined} if joined else {"run_name": config.name}

    def run(self, tracker: Any) -> str:
        return str(tracker.active_run.info.run_id)

    def send_page(self, tracker: Any, config: Config, page: Path) -> None:
        import mlflow

        mlflow.log_artifact(str(page))


TRACKERS = {kind.name: kind for kind in (Tracker(), Wandb(), Trackio(), MLflow())}


def track_training(accelerator: "Accelerator", config: Config) -> None:
    """Have accelerate log to the configured tracker; a resumed training joins its earlier run.

    Raises RunError where the tracker does not start.
    """
    kind = TRACKERS[config.train.report_to]
    resumes = any((config.run_dir / "train" / "checkpoints").glob("step-*"))
    joined = _tracked_run(config, kind) if resumes else None
    try:
        options = kind.options(config, joined)
        accelerator.init_trackers(kind.project, None if joined else flat_config(config), {kind.name: options})
    except Exception as failure:  # whatever a tracker raises without a login, a network or a store
        raise _not_started(kind, failure) from failure
    if accelerator.is_main_process:
        _remember(config, kind, accelerator.get_tracker(kind.name))


def track_report(config: Config, page: Path) -> None:
    """Send the run's scores and its report to the tracker that followed its training, if there is one.

    Raises RunError where it does not take them.
    """
    if config.train.report_to == "none":
        return
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    kind = TRACKERS[config.train.report_to]
    joined, found = _tracked_run(config, kind), scores(config.run_dir)
    tracker_class = LOGGER_TYPE_TO_CLASS[kind.name]
    places = [_folder(config)] if tracker_class.requires_logging_directory else []
    try:
        tracker = tracker_class(kind.project, *places, **kind.options(config, joined))
        tracker.start()
        if not joined:
            tracker.store_init_configuration(flat_config(config))
            _remember(config, kind, tracker)
        if found:
            tracker.log(found)
        kind.send_page(tracker, config, page)
        tracker.finish()
    except Exception as failure:
        raise _not_started(kind, failure) from failure


def scores(run_dir: Path) -> dict[str, float]:
    """Every score of the run's comparisons by a name like `eval/superni-alpaca/tuned/rougeL`."""
    found = dict[str, float]()
    for path in sorted((run_dir / "eval").glob("comparison*.json")):
        comparison = read_result(path, Comparison, todo="evaluate again")
        models: list[ComparedBase | ComparedModel] = [comparison.base, *comparison.contestants]
        for model in models:
            place = f"eval/{_part(f'{comparison.suite}-{comparison.prompt}')}/{_part(model.name)}"
            found |= {f"{place}/{_part(name)}": score for name, score in _scores_of(model).items()}
    return found


def _scores_of(model: ComparedBase | ComparedModel) -> dict[str, float]:
    own = {name: getattr(model, name) for name in ("rougeL", "first_line_rougeL", "exact_match")} | model.metrics
    if isinstance(model, ComparedBase):
        return own
    against = model.against_base["rougeL"]
    return own | {"rougeL_against_base": against.difference, "rougeL_low": against.low, "rougeL_high": against.high}


def flat_config(config: Config) -> dict[str, str | int | float | bool]:
    """The configuration by dotted keys, without what may hold keys or addresses; lists as JSON, null as "null"."""
    return _flat(config.model_dump(mode="json", exclude=NOT_SENT))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    flat: dict[str, str | int | float | bool] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value if isinstance(value, str | int | float) else json.dumps(value)
    return flat


def _part(name: str) -> str:
    """A part of a metric's name, of the characters that every tracker takes."""
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII)


def _folder(config: Config) -> str:
    return str(config.run_dir / "train")


def _tracked_run(config: Config, kind: Tracker) -> str | None:
    path = config.run_dir / "tracker.json"
    if not path.is_file():
        return None
    tracked = read_result(path, TrackedRun, todo=f"remove it: {kind.name} then gets a new run")
    return tracked.run if tracked.tracker == kind.name else None


def _remember(config: Config, kind: Tracker, tracker: Any) -> None:
    write_result(config.run_dir / "tracker.json", TrackedRun(kind.name, kind.run(tracker)))


def _not_started(kind: Tracker, failure: Exception) -> RunError:
    if isinstance(failure, ImportError):
        todo = f"pip install {PACKAGES.get(kind.name, kind.name)}"
    else:
        todo = f"see to it that {kind.name} works by itself (docs/tracking.md), or set train.report_to=none"
    return RunError(f"{kind.name}: {failure}", where="train.report_to", todo=todo)
