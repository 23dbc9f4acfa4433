"""`pacos select`: chooses the best of several models on one half of the tasks, and tests it on the other half.

The best of many models looks better than it is on the tasks that chose it. So the tasks are split once, by a seed: one
half only chooses, the other only tests. A winner is named where the test tasks confirm its gain over the default
(p < 0.05); otherwise there is none, and the default stays. That is one test, of a candidate chosen without these
tasks, so it needs no adjustment. To read all candidates' figures on them is to make many: those are adjusted (Holm).
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.compare import compare_evaluations
from pacos.evaluate.intervals import CONFIDENCE
from pacos.evaluate.score import ScoredEvaluation, read_scored
from pacos.results import write_result
from pacos.results.comparison import Comparison
from pacos.results.selection import Candidate, Selection

# Below this many tasks on each side, no interval tells anything.
FEWEST_TASKS = 2


def select(folders: Sequence[Path], out: Path, *, seed: int) -> Selection:
    """Choose among the evaluations in `folders` (`eval/<label>/`), of which the first is the default; writes
    `out/selection.json` and returns it.

    Raises DataError as `select_evaluation`, and for predictions that cannot be scored.
    """
    selection = select_evaluation([read_scored(folder) for folder in folders], seed=seed)
    write_result(out / "selection.json", selection)
    return selection


def select_evaluation(evaluations: Sequence[ScoredEvaluation], *, seed: int) -> Selection:
    """Choose among evaluations, of which the first is the default.

    Raises DataError for fewer than two, for fewer than four tasks, and for evaluations that are not comparable.
    """
    if len(evaluations) < 2:
        raise DataError("a selection needs the default and at least one other", todo="name two evaluations or more")
    halves = split_tasks({task for task, _ in evaluations[0].answers}, seed=seed)
    choosing, testing = (
        compare_evaluations([one.only({key for key in one.answers if key[0] in half}) for one in evaluations])
        for half in map(set, halves)
    )
    candidates = [
        Candidate(
            name=chosen.name,
            label=chosen.label,
            selection_rougeL=chosen.rougeL,
            selection=chosen.against_base["rougeL"],
            test_rougeL=tested.rougeL,
            test=tested.against_base["rougeL"],
        )
        for chosen, tested in zip(choosing.contestants, testing.contestants, strict=True)
    ]
    best = max(candidates, key=lambda candidate: candidate.selection_rougeL)
    better = best.selection_rougeL > choosing.base.rougeL
    wins = better and best.test.difference > 0 and best.test.p < 1 - CONFIDENCE
    return Selection(
        suite=choosing.suite,
        prompt=choosing.prompt,
        seed=seed,
        selection_tasks=halves[0],
        test_tasks=halves[1],
        default=choosing.base.name,
        default_selection_rougeL=choosing.base.rougeL,
        default_test_rougeL=testing.base.rougeL,
        candidates=candidates,
        best=best.name if better else "",
        winner=best.name if wins else "",
        reason=_reason(best, choosing, better=better, wins=wins),
    )


def split_tasks(tasks: Iterable[str], *, seed: int) -> tuple[list[str], list[str]]:
    """(tasks that choose, tasks that test): halves drawn by `seed`, each sorted.

    Raises DataError for fewer than four tasks.
    """
    drawn = sorted(tasks)
    if len(drawn) < 2 * FEWEST_TASKS:
        raise DataError(
            f"the suite has {len(drawn)} tasks, and half of them must choose and half test",
            todo=f"use a suite of {2 * FEWEST_TASKS} tasks or more",
        )
    random.Random(seed).shuffle(drawn)
    half = len(drawn) // 2
    return sorted(drawn[:half]), sorted(drawn[half:])


def selection_table(selection: Selection) -> str:
    """For the terminal: each candidate on both halves, and the outcome."""
    width = max(len(name) for name in (selection.default, *(one.name for one in selection.candidates)))
    halves = f"{len(selection.selection_tasks)} tasks choose, {len(selection.test_tasks)} test"
    lines = [
        f"{selection.suite}, prompt {selection.prompt}: {halves} (seed {selection.seed})",
        f"{'':{width}}  choosing   testing  tested against {selection.default} (95 %; p adjusted by Holm)",
        f"{selection.default:{width}}  {selection.default_selection_rougeL:8.2f}  {selection.default_test_rougeL:8.2f}",
    ]
    for one in sorted(selection.candidates, key=lambda candidate: -candidate.selection_rougeL):
        tested = f"{one.test.difference:+.2f} [{one.test.low:+.2f}, {one.test.high:+.2f}], p {one.test.p_holm:.2g}"
        lines.append(f"{one.name:{width}}  {one.selection_rougeL:8.2f}  {one.test_rougeL:8.2f}  {tested}")
    return "\n".join([*lines, selection.reason])


def _reason(best: Candidate, choosing: Comparison, *, better: bool, wins: bool) -> str:
    if not better:
        return f"no winner: no candidate is above {choosing.base.name} on the tasks that choose"
    tested = f"{best.test.difference:+.2f} points on the test tasks, p {best.test.p:.2g}"
    if wins:
        return f"winner: {best.name}, {tested}"
    return (
        f"no winner: {best.name} is best on the tasks that choose, and not confirmed: {tested}; "
        f"a gain of {best.test.detectable:.1f} points could have been found"
    )
