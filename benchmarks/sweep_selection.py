"""How often `pacos select` names a winner: `python -m benchmarks.sweep_selection [--sweeps 200] [--save]`.

Simulated sweeps of a default and several trials on tasks of unlike difficulty. Each trial differs from the default by
chance alone: by a draw for each task (what another training does to a kind of task) and one for each answer. In
`nothing_to_find` no trial is better, and a winner is a false one; in the others one trial is better by some points, and
`found` counts how often it is the winner, `wrong` how often another is. `best_looking` is what a winner without a test
would be: how often the best trial on the tasks that choose has an unadjusted interval above 0 on those same tasks.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.result import report
from pacos.evaluate.compare import compare_evaluations
from pacos.evaluate.score import ScoredAnswer, ScoredEvaluation
from pacos.evaluate.selection import select_evaluation
from pacos.records import Prediction

TASKS, ANSWERS, TRIALS = 40, 8, 8
# Standard deviations in points of ROUGE-L: between tasks, of a trial on a task, of paired answers to one task.
LEVEL, SHIFT, SCATTER = 15.0, 6.0, 25.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures = {
        "nothing_to_find": measure(0.0, options.sweeps, options.seed),
        "better_by_5": measure(5.0, options.sweeps, options.seed),
        "better_by_10": measure(10.0, options.sweeps, options.seed),
    }
    settings = {"sweeps": options.sweeps, "seed": options.seed, "tasks": TASKS, "answers": ANSWERS, "trials": TRIALS}
    report("sweep_selection", figures, settings=settings, save=options.save)


def measure(gain: float, sweeps: int, seed: int) -> dict[str, Any]:
    draw = np.random.default_rng(seed)
    found = wrong = best_looking = 0
    for number in range(sweeps):
        models = simulated_sweep(draw, gain)
        winner = select_evaluation(models, seed=number).winner
        found += winner == "trial1"
        wrong += winner not in ("", "trial1")
        best_looking += any(one.against_base["rougeL"].low > 0 for one in compare_evaluations(models).contestants)
    if not gain:
        return {"winner_percent": 100 * (found + wrong) / sweeps, "best_looking_percent": 100 * best_looking / sweeps}
    return {"found_percent": 100 * found / sweeps, "wrong_percent": 100 * wrong / sweeps}


def simulated_sweep(draw: np.random.Generator, gain: float) -> list[ScoredEvaluation]:
    """The default, and trials of which the first is better by `gain`."""
    levels = draw.normal(50, LEVEL, TASKS)
    means = levels + draw.normal(0, SHIFT, (TRIALS + 1, TASKS))
    means[1] += gain
    scores = np.clip(means[:, :, None] + draw.normal(0, SCATTER / 2**0.5, (TRIALS + 1, TASKS, ANSWERS)), 0, 100)
    return [evaluation("default" if number == 0 else f"trial{number}", scores[number]) for number in range(TRIALS + 1)]


def evaluation(name: str, scores: np.ndarray) -> ScoredEvaluation:
    answers = {}
    for (task, instance), score in np.ndenumerate(scores):
        row = Prediction(name, "simulated", f"task{task:02}", str(instance), "", "", "", "", [""], score, 0.0, "stop")
        figures = {"rougeL": float(score), "exact_match": 0.0, "first_line_rougeL": float(score)}
        answers[row.task, row.instance] = ScoredAnswer(row, figures)
    return ScoredEvaluation(name, "simulated", Path(name), answers)


if __name__ == "__main__":
    main()
