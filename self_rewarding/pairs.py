"""`pacos pairs`: answers and the judge's scores of them → `pairs/pairs.jsonl`, which preference training reads.

A pair is a task's answer with the highest mean score and the one with the lowest (paper 2401.10020, section 2.3).
Tasks without a pair are listed with the reason in `dropped.jsonl`. An unreadable judgement is not a score: an answer's
mean is over the readable ones, and an answer without any is left out. Samples with the same text are one answer, its
mean over all their judgements: the judge's noise would otherwise make pairs of a text and itself.
"""

import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pacos.config import Config
from pacos.errors import DataError, RunError
from pacos.files import write_jsonl
from pacos.records import SCORES, AnswerRow, Judgement, PairRow, read_records
from pacos.results import write_result
from pacos.results.rounds import AnswerLengths, PairStats, ScoreMargin
from pacos.runs import Run

log = logging.getLogger("pacos")


class DropReason(StrEnum):
    """Why a task gives no pair."""

    TIE = "tie"  # the highest score is also the lowest
    UNSCORED = "unscored"  # fewer than two complete answers have a readable score
    ALIKE = "alike"  # all that have one are the same text


@dataclass(frozen=True, slots=True)
class DroppedTask:
    """A line of `dropped.jsonl`: a task without a pair, and the mean scores of its answers."""

    id: str
    reason: DropReason
    scores: list[float]


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """An answer, its mean score (0–5), and the texts of its readable judgements."""

    answer: AnswerRow
    score: float
    judgements: list[str]


def main(config: Config, run: Run, judged: Path | None = None) -> PairStats:
    """Write pairs, dropped tasks and statistics of the run's answers, and return the statistics.

    `judged` is the folder of the judgements; the run's own unless given. Raises DataError (answers or judgements
    missing or broken) and RunError where no task gives a pair.
    """
    answers_file = run.dir / "answers" / "answers.jsonl"
    judgements_file = (judged or run.dir / "judge" / "additive--answers") / "judgements.jsonl"
    folder = run.dir / "pairs"
    with run.stage("pairs", inputs=[answers_file, judgements_file]) as stage:
        answers = read_records(answers_file, AnswerRow)
        judgements = read_records(judgements_file, Judgement)
        scored = score_answers(answers, judgements, where=judgements_file)
        pairs, dropped = pair_up(answers, scored)
        stats = pair_stats(answers, judgements, scored, pairs, dropped)
        write_jsonl(folder / "pairs.jsonl", pairs)
        write_jsonl(folder / "dropped.jsonl", dropped)
        write_result(folder / "stats.json", stats)
        stage.outputs.append(folder)
        if not pairs:
            reasons = ", ".join(f"{reason} {count}" for reason, count in stats.dropped.items())
            raise RunError(
                f"none of {stats.tasks} tasks gives a pair ({reasons})",
                where=str(folder / "dropped.jsonl"),
                todo="read the judgements: a judge that gives every answer one score cannot choose between them",
            )
    log.info(
        "pairs: %d of %d tasks, mean margin %.2f; ties %d; unreadable judgements %d",
        stats.pairs, stats.tasks, stats.margin.mean, stats.dropped.get(DropReason.TIE, 0), stats.unreadable,
    )  # fmt: skip
    return stats


def score_answers(
    answers: Sequence[AnswerRow], judgements: Iterable[Judgement], *, where: Path | None = None
) -> dict[tuple[str, int], AnswerScore]:
    """Return {(task, sample): answer with its mean score} of complete answers that have a readable judgement.

    `where` is the judgements' file. Raises DataError for a judgement of an unknown answer, of another kind than
    additive, or whose verdict is no score.
    """
    place = str(where) if where else None
    known = {(answer.id, answer.sample): answer for answer in answers}
    readable: dict[tuple[str, int], list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        key = judgement.item, judgement.sample
        if judgement.kind != "additive" or key not in known or known[key].model != judgement.model:
            raise DataError(
                f"the {judgement.kind} judgement of {judgement.model}'s answer {judgement.sample} to "
                f"{judgement.item!r} belongs to none of these answers",
                where=place,
                todo="judge them: pacos judge --kind additive",
            )
        if judgement.verdict not in ("", *SCORES):
            raise DataError(f"the verdict {judgement.verdict[:20]!r} is not a score from 0 to 5", where=place)
        if judgement.verdict:
            readable[key].append(judgement)
    return {
        key: AnswerScore(
            known[key], math.fsum(int(one.verdict) for one in ones) / len(ones), [one.text for one in ones]
        )
        for key, ones in readable.items()
        if known[key].finish_reason == "stop"
    }


def pair_up(
    answers: Sequence[AnswerRow], scored: Mapping[tuple[str, int], AnswerScore]
) -> tuple[list[PairRow], list[DroppedTask]]:
    """Return the pairs in the order of the tasks, and the tasks without one. Among equal scores the earlier sample
    is taken."""
    tasks: dict[str, list[AnswerScore]] = {answer.id: [] for answer in answers}
    for (id, _), one in sorted(scored.items(), key=lambda item: item[0][1]):
        tasks[id].append(one)
    pairs, dropped = [], []
    for id, samples in tasks.items():
        candidates = _distinct(samples)
        if reason := _no_pair(samples, candidates):
            dropped.append(DroppedTask(id, reason, [one.score for one in samples]))
        else:
            pairs.append(_pair(candidates))
    return pairs, dropped


def _distinct(samples: Sequence[AnswerScore]) -> list[AnswerScore]:
    """One answer for each text, in the order of their first samples."""
    by_text: dict[str, list[AnswerScore]] = defaultdict(list)
    for one in samples:
        by_text[one.answer.output].append(one)
    distinct = []
    for same in by_text.values():
        judgements = [text for one in same for text in one.judgements]
        mean = math.fsum(one.score * len(one.judgements) for one in same) / len(judgements)
        distinct.append(AnswerScore(same[0].answer, mean, judgements))
    return distinct


def _no_pair(samples: Sequence[AnswerScore], candidates: Sequence[AnswerScore]) -> DropReason | None:
    if len(samples) < 2:
        return DropReason.UNSCORED
    if len(candidates) < 2:
        return DropReason.ALIKE
    best, worst = _extremes(candidates)
    return DropReason.TIE if best.score == worst.score else None


def _extremes(candidates: Sequence[AnswerScore]) -> tuple[AnswerScore, AnswerScore]:
    return max(candidates, key=lambda one: one.score), min(candidates, key=lambda one: one.score)


def _pair(candidates: Sequence[AnswerScore]) -> PairRow:
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


def pair_stats(
    answers: Sequence[AnswerRow],
    judgements: Sequence[Judgement],
    scored: Mapping[tuple[str, int], AnswerScore],
    pairs: Sequence[PairRow],
    dropped: Sequence[DroppedTask],
) -> PairStats:
    """Return the statistics of `stats.json`."""
    tasks = {answer.id for answer in answers}
    reasons = Counter(one.reason for one in dropped)
    comparable = len(tasks) - reasons[DropReason.UNSCORED] - reasons[DropReason.ALIKE]
    margins = [pair.chosen_score - pair.rejected_score for pair in pairs]
    return PairStats(
        tasks=len(tasks),
        answers=len(answers),
        cut=sum(answer.finish_reason != "stop" for answer in answers),
        scored=len(scored),
        pairs=len(pairs),
        dropped={str(reason): count for reason, count in sorted(reasons.items())},
        share_of_ties=round(reasons[DropReason.TIE] / comparable, 4) if comparable else 0.0,
        margin=ScoreMargin(_mean(margins), dict(sorted(Counter(map(round, margins)).items()))),
        score=_mean([one.score for one in scored.values()]),
        words=AnswerLengths(
            answers=_mean_words(answer.output for answer in answers),
            chosen=_mean_words(pair.chosen for pair in pairs),
            rejected=_mean_words(pair.rejected for pair in pairs),
        ),
        judgements=len(judgements),
        unreadable=sum(not judgement.verdict for judgement in judgements),
    )


def _mean_words(texts: Iterable[str]) -> float:
    return _mean([len(text.split()) for text in texts])


def _mean(numbers: Sequence[float]) -> float:
    return round(math.fsum(numbers) / len(numbers), 4) if numbers else 0.0
