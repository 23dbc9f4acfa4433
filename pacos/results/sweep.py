"""What `pacos sweep` writes: `sweep.json`."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class TrialRecord:
    """One training: its overrides, for what share of the epochs, and how it ended.

    `eval_loss` is the last held-out loss, None where no examples are held out or the training failed.
    """

    name: str
    overrides: list[str]
    share: float
    state: Literal["trained", "failed"]
    run_dir: str
    eval_loss: float | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """The trainings in their order, and the evaluations that were chosen from; `selection.json` has the outcome."""

    trials: list[TrialRecord]
    evaluations: list[str]
