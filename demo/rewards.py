"""Seeds of the self-rewarding demonstration: `python -m demo.rewards --out DIR [--seed 0]`.

Three files, composed from the families of the base's text, never from the evaluation suite:

- `instructions.jsonl`: tasks with right answers, from which M1 learns to answer;
- `judging.jsonl`: the additive judge's prompt about an answer, and a judgement of it, from which M1 learns to judge;
- `ranked.jsonl`: requests with three or four answers each, ranked (0 = best), on which judges are measured.

No request stands in two of them, though one fact of a small table may be asked about in several. Ranks and scores are a
rule's (`graded_answers`), not people's: an answer is right if its family computes the same. In the paper, people wrote
and ranked the answers (Open Assistant).
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from demo.families import FAMILIES, compose, is_correct, recognise
from demo.families.sentences import any_word
from pacos.evaluate.judge_prompts import DELIMITER, write_single
from pacos.evaluate.judged import Answer
from pacos.records import Task, write_jsonl

INSTRUCTIONS, JUDGED, RANKED = 320, 700, 100  # requests; each judged one is judged with one of its answers

_NEEDLESS = (
    "I hope this helps you.",
    "Please ask me again if you need more help.",
    "This is the answer that you asked for.",
    "I am glad that I could help you today.",
    "There is a lot more to say about it.",
    "It was a good question, thank you for it.",
)
_EMPTY = ("", "...", "-", "I do not know.")


class Graded(NamedTuple):
    """An answer to a request, with the points that it is worth (0–5) and why."""

    output: str
    score: int
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the three files")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name, rows in seed_rows(options.seed).items():
        write_jsonl(options.out / name, rows)
        print(f"{options.out / name}: {len(rows)} rows")


def seed_rows(seed: int) -> dict[str, list[Mapping[str, Any]]]:
    """{file name: its rows}."""
    rng = Random(f"{seed} rewards")
    requests = distinct_tasks(rng)
    ranked = [row for number in range(RANKED) for row in ranked_rows(f"demo-{number}", next(requests), rng)]
    judging = [judging_row(next(requests), number, rng) for number in range(JUDGED)]
    instructions = [dataclasses.asdict(next(requests)) for _ in range(INSTRUCTIONS)]
    return {"instructions.jsonl": instructions, "judging.jsonl": judging, "ranked.jsonl": ranked}


def distinct_tasks(rng: Random) -> Iterator[Task]:
    """Tasks with right answers, family by family in a new order each time; no request comes twice."""
    seen = set()
    while True:
        for family in rng.sample(FAMILIES, len(FAMILIES)):
            task = compose(family, rng)
            if (request := (task.instruction, task.input)) not in seen:
                seen.add(request)
                yield task


def graded_answers(task: Task, rng: Random) -> tuple[Graded, ...]:
    """Answers worth 0 to 5 points, in this order; two of them are worth 2."""
    right, wrong = task.output, wrong_answer(task, rng)
    # Some inputs are right answers to what is asked about them: that a question be written as a question.
    repeated = task.input if task.input and not _is_right(task, task.input) else task.instruction
    stop = "" if right[-1] in ".?!" else "."
    return (
        Graded(rng.choice(_EMPTY), 0, "It says nothing."),
        Graded(repeated, 1, "It only repeats the task."),
        Graded(wrong, 2, "It is not the answer."),
        Graded(f"{right}\n{wrong}", 2, "It answers twice, and once wrong."),
        Graded(f"{right}{stop} {rng.choice(_NEEDLESS)}", 3, "It answers, but it goes on."),
        Graded(f"{right}!!!", 4, "It answers, but it shouts."),
        Graded(right, 5, "It is the answer and no more."),
    )


def wrong_answer(task: Task, rng: Random) -> str:
    """An answer of the right shape: that to another task of the family, or one with another word in it."""
    family = recognise(task.instruction)
    if family is None:
        raise ValueError(f"of no family: {task.instruction!r}")
    while True:
        words = task.output.split()
        if len(words) > 2 and rng.random() < 0.5:
            words[rng.randrange(len(words))] = any_word(rng)
            wrong = " ".join(words)
        else:
            wrong = compose(family, rng).output
        if not _is_right(task, wrong):
            return wrong


def _is_right(task: Task, output: str) -> bool:
    return bool(is_correct(dataclasses.replace(task, output=output)))


def judging_row(task: Task, number: int, rng: Random) -> Mapping[str, str]:
    graded = graded_answers(task, rng)[number % 7]
    answer = Answer(str(number), "demo", 0, task.instruction, task.input, graded.output)
    prompt = write_single("additive", answer)(lambda text: text)
    return {"instruction": prompt, "input": "", "output": f"{graded.reason}\n{DELIMITER} {graded.score}"}


def ranked_rows(id: str, task: Task, rng: Random) -> list[Mapping[str, Any]]:
    """The right answer, one that runs on, a wrong one, and one that is of no use; one of the last three is often left
    out."""
    empty, repeated, wrong, _, needless, shouted, right = graded_answers(task, rng)
    shown = [right, rng.choice((needless, shouted)), wrong, rng.choice((repeated, empty))]
    if rng.random() < 0.5:
        del shown[rng.randint(1, 3)]
    asked = {"id": id, "instruction": task.instruction, "input": task.input}
    return [{**asked, "output": answer.output, "rank": rank} for rank, answer in enumerate(shown)]


if __name__ == "__main__":
    main()
