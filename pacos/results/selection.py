"""What `pacos select` writes: `selection.json`."""

from dataclasses import dataclass

from pacos.results.comparison import AdjustedDifference


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model against the default, on the tasks that choose and on those that test; `label` is its folder's name."""

    name: str
    label: str
    selection_rougeL: float
    selection: AdjustedDifference
    test_rougeL: float
    test: AdjustedDifference


@dataclass(frozen=True, slots=True)
class Selection:
    """The best of several models on one half of the tasks, tested on the other half.

    `best` is the candidate with the highest ROUGE-L on the selection tasks, "" where none is above the default;
    `winner` is `best` where the test tasks confirm it, else "", and `reason` says why.
    """

    suite: str
    prompt: str
    seed: int
    selection_tasks: list[str]
    test_tasks: list[str]
    default: str
    default_selection_rougeL: float
    default_test_rougeL: float
    candidates: list[Candidate]
    best: str
    winner: str
    reason: str
