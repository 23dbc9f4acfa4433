"""`pacos sweep`: trains every trial, evaluates all of them on one engine, and says which is best, if any is.

    runs/<name>/
      trials/<trial>/       a run directory for each training;  <trial>.yaml  runs it by hand
      trials/tokenized/     the rows, tokenised once for all trials of the same lengths and template
      eval/                 base and all trials on the suites: one comparison
      selection.json        which trial half of the tasks choose, and what the other half says of it
      sweep.json            the trials, with their overrides and held-out losses

Nothing is recorded of what is done: each command sees for itself that nothing has changed, so that a stopped sweep
resumes where it was, and trainings done elsewhere, on a cluster say, are taken up.
"""

import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from pacos.config import Config, ModelEntry, resolved_yaml, with_values
from pacos.errors import ConfigError, RunError
from pacos.files import write_text
from pacos.results import read_result, write_result
from pacos.results.selection import Selection
from pacos.results.sweep import Sweep, TrialRecord
from pacos.runs import Run, evaluation_folder, locked
from pacos.serving import guarded
from pacos.sweeps.training import check_held_out, halved, shares, shortened, train_all, write_config
from pacos.sweeps.trials import DEFAULT, Grid, Trial

log = logging.getLogger("pacos")


def main(grid: Grid, *, devices: Sequence[str] = ("",), halving: bool = False) -> Selection:
    """Train, evaluate and select; returns the outcome, which is in `selection.json` as well.

    Raises ConfigError: no suite, no dataset to train on, or nothing held out to halve by; RunError: the default's
    training failed, or every other, or a later command.
    """
    check(grid, halving=halving)
    config = grid.config
    if not has_data(config):
        raise ConfigError(
            "there is no dataset yet", where="train.data", todo="name one, or `pacos generate` the run's own first"
        )
    with Run.open(config):  # creates the folder, or refuses another run's; the commands open it again
        pass
    with locked(config.run_dir / ".sweep", "another sweep is working in this run"):
        records = train(grid.trials, devices, halving=halving)
        whole = {record.name for record in records if record.share == 1.0 and record.state == "trained"}
        trained = [trial for trial in grid.trials if trial.name in whole]
        if DEFAULT not in whole or len(trained) < 2:
            raise RunError(
                f"{len(trained)} of the trainings are whole, and the default and one more are needed",
                where=str(config.run_dir / "trials"),
                todo="see their messages above, and rerun",
            )
        folders = [evaluation_folder(config, trial.name) for trial in trained]  # the default's first
        write_result(config.run_dir / "sweep.json", Sweep(records, [str(folder) for folder in folders]))
        _run(config, "evaluate", "--config", str(_evaluation_config(config, trained)))
        out = ("--out", str(config.run_dir), "--seed", str(config.seed))
        _run(config, "select", *map(str, folders), *out)
    return read_result(config.run_dir / "selection.json", Selection, todo="run the sweep again")


def plan(grid: Grid, *, halving: bool = False) -> list[str]:
    """The trials and what is done with them, for --dry-run. Raises as `check`."""
    check(grid, halving=halving)
    lines = [f"of {grid.config.name}, in {grid.config.run_dir}"]
    if not has_data(grid.config):
        lines.append("its dataset is not there yet: `pacos generate` it first")
    lines += [f"{trial.name}: {' '.join(trial.values) or 'the experiment as it is'}" for trial in grid.trials]
    rungs = shares(len(grid.trials)) if halving else [1.0]
    if len(rungs) > 1:
        said = ", ".join(f"{share:g}" for share in rungs)
        lines.append(f"halved by held-out loss after trainings of {said} of the epochs")
    return [
        *lines,
        f"then all on {', '.join(dict.fromkeys(suite.name for suite in grid.config.evaluate.suites))}, on one engine",
    ]


def prepare(grid: Grid) -> list[str]:
    """Write the trials' experiments and return the commands that train them, for a cluster's own scheduler."""
    check(grid)
    with Run.open(grid.config):
        return [shlex.join(["pacos", "train", "--config", str(write_config(trial))]) for trial in grid.trials]


def check(grid: Grid, *, halving: bool = False) -> None:
    """Raises ConfigError where nothing says how trials are chosen."""
    if not grid.config.evaluate.suites:
        raise ConfigError("trials are chosen by a suite, and there is none", where="evaluate.suites", todo="name one")
    if halving:
        check_held_out(grid.trials)


def has_data(config: Config) -> bool:
    """Whether there is something to train on: `train.data`, or the run's own dataset."""
    return bool(config.train.data) or (config.run_dir / "dataset").is_dir()


def train(trials: Sequence[Trial], devices: Sequence[str], *, halving: bool) -> list[TrialRecord]:
    """Train all trials, or with `halving` all for a share of the epochs and the better half for twice that, and so
    on; returns a record of each training."""
    records = []
    for share in shares(len(trials)) if halving else [1.0]:
        short = [shortened(trial, share) for trial in trials]
        records += (rung := train_all(short, devices, share=share))
        if share < 1.0:
            trials = halved(trials, rung)
            log.info("sweep: %s go on", ", ".join(trial.name for trial in trials))
    return records


def _evaluation_config(config: Config, trials: Sequence[Trial]) -> Path:
    """The experiment that evaluates all trials, in the sweep's run directory."""
    models = [*config.evaluate.models, *(_entry(trial) for trial in trials)]
    path = config.run_dir / "sweep.yaml"
    write_text(path, resolved_yaml(with_values(config, {"evaluate.models": models})))
    return path


def _entry(trial: Trial) -> ModelEntry:
    train, student = trial.config.train, trial.config.student
    result = str(trial.config.run_dir / "train" / train.result)
    if train.result == "model":
        return ModelEntry(name=trial.name, model=result)
    return ModelEntry(name=trial.name, model=student, adapter=result)


def _run(config: Config, *words: str) -> None:
    """Run a command of pacos to its end. Raises RunError where it fails."""
    command = [sys.executable, "-m", "pacos.cli", *words]
    if code := guarded.run(config.run_dir / guarded.STEP_RECORD, command, {}):
        raise RunError(
            f"`pacos {words[0]}` failed with exit code {code}; its own message is above",
            where=str(config.run_dir),
            todo="fix the error and rerun; the sweep resumes there",
        )
