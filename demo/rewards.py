"""Seeds of the self-rewarding demonstration: `python -m demo.rewards --out DIR [--seed 0]`.

Splits the packaged seed tasks into three files, each request in one of them:

- `instructions.jsonl`: tasks with correct answers, from which M1 learns to answer;
- `judging.jsonl`: the additive judge's prompt about an answer, and a judgement of it, from which M1 learns to judge;
- `ranked.jsonl`: requests with three or four answers each, ranked (0 = best), on which judges are measured.

Ranks and scores come from a rule (`graded_answers`), not from people: the seed task's own answer is correct, and the
others are made from it or belong to another task. In the paper (Yuan et al. 2401.10020, section 3.1), people wrote and
ranked the answers (Open Assistant).
"""

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from pacos.evaluate.judge.additive import ADDITIVE, DELIMITER
from pacos.evaluate.judge.answers import JudgedAnswer
from pacos.evaluate.judge.prompts import unchanged
from pacos.files import write_jsonl
from pacos.records import Task
from pacos.seeds import PACKAGED_SEEDS, Seed, load_seeds

JUDGED, RANKED = 48, 60  # requests; the rest are instructions
JUDGED_ANSWERS = 3  # of each judged request
JUDGED_WORDS = 55  # most words of a judged task with its correct answer, so that rows stay under 500 tokens
CUT_WORDS = 6  # fewest words of an answer that is cut off after a third; a shorter one gets another task's appended

NEEDLESS = (
    "I hope that this is what you were looking for!",
    "Please do not hesitate to ask me if there is anything else that I can do.",
    "There would be much more to say about this, but I will leave it there.",
    "Thank you for this interesting question, which I was glad to answer.",
)
EMPTY = ("", "...", "I do not know.", "I cannot help you there.")


class Graded(NamedTuple):
    """An answer to a request, with its score (0–5) and the reason."""

    output: str
    score: int
    reason: str


def main() -> None:
    """Write the three files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, rows in seed_rows(options.seed).items():
        write_jsonl(options.out / name, rows)
        print(f"{options.out / name}: {len(rows)} rows")


def seed_rows(seed: int) -> dict[str, list[Mapping[str, Any]]]:
    """Return {file name: its rows}."""
    rng = Random(f"{seed} rewards")
    seeds = load_seeds(PACKAGED_SEEDS)
    rng.shuffle(seeds)
    judged = [one for one in seeds if _words(one.task) <= JUDGED_WORDS][:JUDGED]
    others = [one for one in seeds if one not in judged]
    ranked, instructions = others[:RANKED], others[RANKED:]
    return {
        "instructions.jsonl": [dataclasses.asdict(one.task) for one in instructions],
        "judging.jsonl": judging_rows(judged, rng),
        "ranked.jsonl": ranked_rows(ranked, rng),
    }


def graded_answers(task: Task, others: Sequence[Task], rng: Random) -> tuple[Graded, ...]:
    """Return answers that score 0 to 5, in this order; the wrong one is the answer of one of the others."""
    right, words = task.output, task.output.split()
    wrong = rng.choice([other.output for other in others if other.output != right])
    if len(words) >= CUT_WORDS:
        partly = Graded(" ".join(words[: len(words) // 3]), 3, "It begins well, but it breaks off.")
    else:
        partly = Graded(f"{right}\n{wrong}", 3, "It answers, and goes on with something else.")
    return (
        Graded(rng.choice(EMPTY), 0, "It says nothing."),
        Graded(task.instruction, 1, "It only repeats the task."),
        Graded(wrong, 2, "It answers another task."),
        partly,
        Graded(f"{right}\n{rng.choice(NEEDLESS)}", 4, "It answers the task, but the last remark is needless."),
        Graded(right, 5, "It answers the task, and says no more than that."),
    )


def judging_rows(seeds: Sequence[Seed], rng: Random) -> list[Mapping[str, Any]]:
    """Return judgements of JUDGED_ANSWERS different answers to each request, with all scores equally often."""
    tasks = [one.task for one in seeds]
    rows: list[Mapping[str, Any]] = []
    for number, one in enumerate(seeds):
        graded = graded_answers(one.task, tasks, rng)
        for place in range(JUDGED_ANSWERS):
            shown = graded[(number + 2 * place) % len(graded)]
            answer = JudgedAnswer(one.id, "demo", place, one.task.instruction, one.task.input, shown.output)
            prompt = ADDITIVE.writer(answer)(unchanged)
            rows.append({"instruction": prompt, "input": "", "output": f"{shown.reason}\n{DELIMITER} {shown.score}"})
    return rows


def ranked_rows(seeds: Sequence[Seed], rng: Random) -> list[Mapping[str, Any]]:
    """Return the correct answer to each request and two or three of the others, the best first."""
    tasks = [one.task for one in seeds]
    rows: list[Mapping[str, Any]] = []
    for one in seeds:
        *others, right = graded_answers(one.task, tasks, rng)
        worse = sorted(rng.sample(others, rng.choice((2, 3))), key=lambda answer: -answer.score)
        asked = {"id": one.id, "instruction": one.task.instruction, "input": one.task.input}
        rows += [{**asked, "output": shown.output, "rank": rank} for rank, shown in enumerate((right, *worse))]
    return rows


def _words(task: Task) -> int:
    return len(f"{task.instruction} {task.input} {task.output}".split())


if __name__ == "__main__":
    main()
