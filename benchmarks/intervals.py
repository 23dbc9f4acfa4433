"""Coverage of our 95 % intervals: `python -m benchmarks.intervals [--draws 2000] [--save]`.

Two simulated checkpoints, whose difference is known, are compared on newly drawn tasks each time. Task differences are
normal, skewed (gamma, skewness 1.4), or a jump: four tasks in five hardly change, the fifth changes by about 25 points.
Tasks have 100 instances, as on SuperNI's default track, and one in twelve has fewer.

`false_alarms` are intervals that exclude 0 where neither checkpoint is better: the same differences with random signs.
`plain_t` is the coverage of the same jackknife without the correction for skewness. A draw without a jump cannot
be distinguished from a normal one, so no interval that is right there contains the truth here: `no_jump` is their
share.
"""

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.result import report
from pacos.evaluate.intervals import CONFIDENCE, jackknife, paired_difference

TASKS = (12, 32, 119)
TRUTH = 3.0
# Standard deviation of paired answers to one task, in points of ROUGE-L.
SCATTER = 25.0
JUMP_SHARE = 0.2
GOAL = {"covered": (93.0, 97.0), "false_alarms": 6.0}


def normal(random: np.random.Generator, tasks: int) -> np.ndarray:
    return random.normal(0, 6, tasks)


def skewed(random: np.random.Generator, tasks: int) -> np.ndarray:
    return random.gamma(2, 6, tasks) - 12


def jump(random: np.random.Generator, tasks: int) -> np.ndarray:
    jumps = random.random(tasks) < JUMP_SHARE
    return np.where(jumps, random.normal(25, 10, tasks), random.normal(0, 3, tasks)) - 25 * JUMP_SHARE


# How far each task's difference lies from the truth; the mean over all tasks there might be is 0.
CASES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {"normal": normal, "skewed": skewed, "jump": jump}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000, help="simulated comparisons of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    figures: dict[str, Any] = {
        f"{case}_{tasks}": measure(case, tasks, options.draws, options.seed) for case in CASES for tasks in TASKS
    }
    figures["missed"] = sorted(name for name, row in figures.items() if not reached(row))
    report(
        "intervals", figures, settings={"draws": options.draws, "seed": options.seed, "goal": GOAL}, save=options.save
    )


def measure(case: str, tasks: int, draws: int, seed: int) -> dict[str, float]:
    """Per cent of draws."""
    random = np.random.default_rng([seed, tasks, *case.encode()])
    covered = alarms = plain = 0
    for _ in range(draws):
        by_task = differences(random, TRUTH + CASES[case](random, tasks))
        found = paired_difference(by_task)
        covered += found.low <= TRUTH <= found.high
        plain += holds_plain(by_task)
        alike = paired_difference(differences(random, random.choice([-1, 1], tasks) * CASES[case](random, tasks)))
        alarms += alike.is_clear
    figures = {"covered": covered, "false_alarms": alarms, "plain_t": plain}
    if case == "jump":
        figures["no_jump"] = draws * (1 - JUMP_SHARE) ** tasks
    return {name: round(100 * count / draws, 2) for name, count in figures.items()}


def differences(random: np.random.Generator, effects: np.ndarray) -> dict[str, list[float]]:
    sizes = np.where(random.random(len(effects)) < 1 / 12, random.integers(10, 100, len(effects)), 100)
    return {
        str(task): random.normal(effect, SCATTER, size).tolist()
        for task, (effect, size) in enumerate(zip(effects, sizes, strict=True))
    }


def holds_plain(by_task: dict[str, list[float]]) -> bool:
    sums, sizes = [sum(values) for values in by_task.values()], [len(values) for values in by_task.values()]
    spread = jackknife(sums, sizes)
    return abs(sum(sums) / sum(sizes) - TRUTH) <= spread.t((1 - CONFIDENCE) / 2) * spread.error


def reached(row: dict[str, float]) -> bool:
    low, high = GOAL["covered"]
    return low <= row["covered"] <= high and row["false_alarms"] <= GOAL["false_alarms"]


if __name__ == "__main__":
    main()
