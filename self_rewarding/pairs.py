"""`pacos pairs`: answers and the judge's scores of them → `pairs/pairs.jsonl`, what preference training reads.

Of each task the answer with the highest mean score against the one with the lowest (paper 2401.10020, section 2.3).
What makes no pair is listed with its reason in `dropped.jsonl`. A judgement that cannot be read is no score: the
answer's mean is over those that can, and an answer without any takes no part. Samples of one text are one answer, its
mean over the judgements of all: the judge's noise would otherwise make pairs of a text and itself.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from pacos.config import Config
from pacos.errors import DataError, RunError
from pacos.records import AnswerRow, Judgement, PairRow, read_records, write_json, write_jsonl
from pacos.runs import Run

log = logging.getLogger("pacos")


class Dropped(StrEnum):
    TIE = "tie"  # the highest score is the lowest
    UNSCORED = "unscored"  # fewer than two whole answers have a readable score
    ALIKE = "alike"  # all that have one are the same text


@dataclass(frozen=True, slots=True)
class Scored:
    """An answer, its mean score (0–5), and what the judge said in the readable judgements."""

    answer: AnswerRow
    score: float
    judgements: list[str]


def main(config: Config, run: Run, judged: Path | None = None) -> dict[str, Any]:
    """Write pairs, drops and statistics of the run's answers; returns the statistics.

    `judged` is the folder of the judgements; the run's own unless given. Raises DataError (answers or judgements
    missing or broken) and RunError where not one pair is left.
    """
    answers_file = run.dir / "answers" / "answers.jsonl"
    judgements_file = (judged or run.dir / "judge" / "additive--answers") / "judgements.jsonl"
    folder = run.dir / "pairs"
    with run.stage("pairs", inputs=[answers_file, judgements_file]) as stage:
        answers = read_records(answers_file, AnswerRow)
        judgements = read_records(judgements_file, Judgement)
        scored = score(answers, judgements)
        pairs, dropped = pair_up(answers, scored)
        write_jsonl(folder / "pairs.jsonl", pairs)
        write_jsonl(folder / "dropped.jsonl", dropped)
        found = {
            **statistics(answers, scored, pairs, dropped),
            "judgements": len(judgements),
            "unreadable": sum(not judgement.verdict for judgement in judgements),
        }
        write_json(folder / "stats.json", found)
        stage.outputs.append(folder)
        if not pairs:
            reasons = ", ".join(f"{reason} {count}" for reason, count in found["dropped"].items())
            raise RunError(
                f"not one of {found['tasks']} tasks gives a pair ({reasons})",
                where=str(folder / "dropped.jsonl"),
                todo="read the judgements: a judge that gives every answer one score cannot choose between them",
            )
    log.info(
        "pairs: %d of %d tasks, mean margin %.2f; ties %d; unreadable judgements %d",
        len(pairs), found["tasks"], found["margin"]["mean"], found["dropped"].get(Dropped.TIE, 0), found["unreadable"],
    )  # fmt: skip
    return found


def score(answers: Sequence[AnswerRow], judgements: Iterable[Judgement]) -> dict[tuple[str, int], Scored]:
    """{(task, sample): the answer with its mean score}, for answers that are whole and have a readable judgement.

    Raises DataError for a judgement of an answer that is not there, or of another kind than additive.
    """
    known = {(answer.id, answer.sample): answer for answer in answers}
    readable: dict[tuple[str, int], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        key = judgement.item, judgement.sample
        if judgement.kind != "additive" or key not in known or known[key].model != judgement.model:
            raise DataError(
                f"the {judgement.kind} judgement of {judgement.model}'s answer {judgement.sample} to "
                f"{judgement.item!r} belongs to none of these answers",
                todo="judge them: pacos judge --kind additive",
            )
        if judgement.verdict:
            readable[key].append(judgement)
    return {
        key: Scored(known[key], math.fsum(int(one.verdict) for one in ones) / len(ones), [one.text for one in ones])
        for key, ones in readable.items()
        if known[key].finish_reason == "stop"
    }


def pair_up(
    answers: Sequence[AnswerRow], scored: Mapping[tuple[str, int], Scored]
) -> tuple[list[PairRow], list[dict[str, Any]]]:
    """Pairs in the order of the tasks, and what was dropped. Of equal scores the earlier sample is taken."""
    tasks: dict[str, list[Scored]] = {answer.id: [] for answer in answers}
    for (id, _), one in sorted(scored.items(), key=lambda item: item[0][1]):
        tasks[id].append(one)
    pairs, dropped = [], []
    for id, samples in tasks.items():
        candidates = _distinct(samples)
        if reason := _no_pair(samples, candidates):
            dropped.append({"id": id, "reason": str(reason), "scores": [one.score for one in samples]})
        else:
            pairs.append(_pair(candidates))
    return pairs, dropped


def _distinct(samples: Sequence[Scored]) -> list[Scored]:
    """One for each text, in the order of their first samples."""
    by_text: dict[str, list[Scored]] = defaultdict(list)
    for one in samples:
        by_text[one.answer.output].append(one)
    distinct = []
    for same in by_text.values():
        judgements = [text for one in same for text in one.judgements]
        mean = math.fsum(one.score * len(one.judgements) for one in same) / len(judgements)
        distinct.append(Scored(same[0].answer, mean, judgements))
    return distinct


def _no_pair(samples: Sequence[Scored], candidates: Sequence[Scored]) -> Dropped | None:
    if len(samples) < 2:
        return Dropped.UNSCORED
    if len(candidates) < 2:
        return Dropped.ALIKE
    best, worst = _extremes(candidates)
    return Dropped.TIE if best.score == worst.score else None


def _extremes(candidates: Sequence[Scored]) -> tuple[Scored, Scored]:
    return max(candidates, key=lambda one: one.score), min(candidates, key=lambda one: one.score)


def _pair(candidates: Sequence[Scored]) -> PairRow:
    best, worst = _extremes(candidates)
    return PairRow(
        instruction=best.answer.instruction,
        input=best.answer.input,
        chosen=best.answer.output,
        rejected=worst.answer.output,
        id=best.answer.id,
        chosen_score=best.score,
        rejected_score=worst.score,
        chosen_judgements=best.judgements,
        rejected_judgements=worst.judgements,
    )


def statistics(
    answers: Sequence[AnswerRow],
    scored: Mapping[tuple[str, int], Scored],
    pairs: Sequence[PairRow],
    dropped: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """`stats.json`: counts, the share of ties among tasks with two texts to compare, margins in points, lengths in
    words."""
    tasks = {answer.id for answer in answers}
    reasons = Counter(one["reason"] for one in dropped)
    comparable = len(tasks) - reasons[Dropped.UNSCORED] - reasons[Dropped.ALIKE]
    return {
        "tasks": len(tasks),
        "answers": len(answers),
        "cut": sum(answer.finish_reason != "stop" for answer in answers),
        "scored": len(scored),
        "pairs": len(pairs),
        "dropped": dict(sorted(reasons.items())),
        "share_of_ties": round(reasons[Dropped.TIE] / comparable, 4) if comparable else 0.0,
        "margin": {
            "mean": _mean(pair.chosen_score - pair.rejected_score for pair in pairs),
            "counts": dict(sorted(Counter(round(pair.chosen_score - pair.rejected_score) for pair in pairs).items())),
        },
        "score": _mean(one.score for one in scored.values()),
        "words": {
            "answers": _mean(len(answer.output.split()) for answer in answers),
            "chosen": _mean(len(pair.chosen.split()) for pair in pairs),
            "rejected": _mean(len(pair.rejected.split()) for pair in pairs),
        },
    }


def _mean(numbers: Iterable[float]) -> float:
    listed = list(numbers)
    return round(math.fsum(listed) / len(listed), 4) if listed else 0.0
