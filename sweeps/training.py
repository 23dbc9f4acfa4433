"""Trains the trials of a sweep: each by `pacos train` in a process of its own, one on each device at a time."""

import logging
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import Popen
from typing import IO

from pacos.config import resolved_yaml, with_values
from pacos.disk import open_to_append
from pacos.errors import ConfigError
from pacos.files import read_jsonl, write_text
from pacos.machine import physical_cores
from pacos.results.sweep import TrialRecord
from pacos.serving import guarded
from pacos.sweeps.trials import DEFAULT, Trial

log = logging.getLogger("pacos")

POLL_S = 0.2
CPU = "cpu"


@dataclass(frozen=True, slots=True)
class _Running:
    trial: Trial
    device: str
    process: "Popen[bytes]"
    record: Path
    output: IO[bytes] | None


def train_all(trials: Sequence[Trial], devices: Sequence[str], *, share: float = 1.0) -> list[TrialRecord]:
    """Train what is not trained yet; returns how each trial ended, in their order.

    `devices` are values of CUDA_VISIBLE_DEVICES, "" for whatever the process sees, CPU for an even share of the cores;
    one that is named twice trains two at a time. A training that fails is logged and does not stop the others; with
    several devices its output is in `trials/<name>.txt`.
    """
    waiting, free, codes = list(trials), list(devices), {}
    running: list[_Running] = []
    try:
        while waiting or running:
            while waiting and free:
                device = free.pop(0)
                trial = waiting.pop(0)
                log.info("sweep: training %s (%d of %d)", trial.name, len(trials) - len(waiting), len(trials))
                running.append(_start(trial, device, at_once=len(devices)))
            for one in [one for one in running if one.process.poll() is not None]:
                running.remove(one)
                free.append(one.device)
                codes[one.trial.name] = code = _finish(one)
                if code:
                    said = f"in {_beside(one.trial, 'txt')}" if one.output else "above"
                    log.warning("sweep: %s failed with exit code %d; its own message is %s", one.trial.name, code, said)
            time.sleep(POLL_S)
    finally:
        for one in running:
            _finish(one)
    return [_record(trial, codes[trial.name], share) for trial in trials]


def halved(trials: Sequence[Trial], records: Sequence[TrialRecord]) -> list[Trial]:
    """The better half of the trials by held-out loss, rounded up, in their order; the default is always among them."""
    losses = {record.name: record.eval_loss for record in records if record.eval_loss is not None}
    ranked = sorted(losses, key=lambda name: losses[name])
    kept = {DEFAULT, *ranked[: (len(trials) + 1) // 2]}
    return [trial for trial in trials if trial.name in kept and trial.name in losses]


def shares(trials: int) -> list[float]:
    """Shares of the epochs after which the trials are halved, until two or three are left: 1/4, 1/2, 1 for eight."""
    rounds = max(1, trials.bit_length() - 1)
    return [2.0 ** (number + 1 - rounds) for number in range(rounds)]


def shortened(trial: Trial, share: float) -> Trial:
    """The trial with this share of its epochs and steps, in a run directory of its own; itself for 1.0.

    The rate still falls to its end within the shorter training: a beginning of the whole schedule would compare high
    rates before they have come down.
    """
    if share == 1.0:
        return trial
    train = trial.config.train
    steps = None if train.max_steps is None else max(1, round(train.max_steps * share))
    values = {
        "name": f"{trial.name}--{share:g}",
        "train.epochs": train.epochs * share,
        "train.max_steps": steps,
    }
    return replace(trial, config=with_values(trial.config, values))


def write_config(trial: Trial) -> Path:
    """Write the trial's experiment beside its run directory, to be trained by hand as well."""
    path = _beside(trial, "yaml")
    write_text(path, resolved_yaml(trial.config))
    return path


def check_held_out(trials: Sequence[Trial]) -> None:
    """Raises ConfigError where a trial holds out no examples, by whose loss trials are halved."""
    for trial in trials:
        if not trial.config.train.eval_examples:
            raise ConfigError(
                "halving goes by the loss of held-out examples, and none are held out",
                where="train.eval_examples",
                todo="hold out some: train.eval_examples=200",
            )


def environment_of(device: str, at_once: int) -> dict[str, str]:
    """What a training on this device sees; so many trainings run at once."""
    if device == CPU:
        return {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": str(max(1, physical_cores() // at_once))}
    return {"CUDA_VISIBLE_DEVICES": device} if device else {}


def _start(trial: Trial, device: str, *, at_once: int) -> _Running:
    command = [sys.executable, "-m", "pacos.cli", "train", "--config", str(write_config(trial))]
    environment = environment_of(device, at_once)
    output = os.fdopen(open_to_append(_beside(trial, "txt")), "ab") if at_once > 1 else None
    record = _beside(trial, "step.json")
    return _Running(trial, device, guarded.start(record, command, environment, output=output), record, output)


def _beside(trial: Trial, suffix: str) -> Path:
    return trial.config.run_dir.parent / f"{trial.config.name}.{suffix}"


def _finish(one: _Running) -> int:
    code = guarded.finish(one.process, one.record)
    if one.output:
        one.output.close()
    return code


def _record(trial: Trial, code: int, share: float) -> TrialRecord:
    run_dir = trial.config.run_dir
    metrics = run_dir / "train" / "metrics.jsonl"
    lines = [] if code else [line for _, line in read_jsonl(metrics, torn_tail=True)]
    measured = [loss for line in lines if (loss := line.get("eval_loss"))]
    return TrialRecord(
        name=trial.name,
        overrides=list(trial.values),
        share=share,
        state="failed" if code else "trained",
        run_dir=str(run_dir),
        eval_loss=measured[-1] if measured else None,
    )
