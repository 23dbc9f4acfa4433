"""What connects a run directory with its run at a tracker: `tracker.json`."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """`tracker.json`: the tracker's name, and by what it knows the run (wandb, MLflow: an id; trackio: a name)."""

    tracker: str
    run: str
