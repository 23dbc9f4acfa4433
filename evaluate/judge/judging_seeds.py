"""`pacos judging`: selects judgements that agree with people as training rows for judging (EFT data).

Self-Rewarding LMs (Yuan et al. 2401.10020, section 3.1) keep a judgement where its ranking agrees with the human one,
and leave open how ties count. Here the judgements of one request with the same repeat are one set, kept or dropped
together: kept if all are readable, no pair that people rank apart is scored the other way round, and every best answer
has more points than every worst; in between, a tie is not a disagreement. The most frequent score is thinned out to
the count of the next, as the paper thins out its 4s.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.judge.additive import ADDITIVE
from pacos.evaluate.judge.answers import AnswerSet, read_answers
from pacos.evaluate.judge.kinds import AnswerKey, JudgeQuestion, answer_key
from pacos.evaluate.judge.marks import read_key
from pacos.evaluate.judge.prompts import unchanged
from pacos.evaluate.judge.ranking import by_request
from pacos.files import write_jsonl
from pacos.records import SCORES, Judgement, Task, read_records
from pacos.results import write_result
from pacos.results.judging import JudgementSetCounts, JudgingStats, RowsByScore

KEPT, DISAGREEING, INCOMPLETE = "kept", "disagreeing", "incomplete"


@dataclass(frozen=True, slots=True)
class JudgementSet:
    """One repeat's judgements of a request's answers, and people's ranks; None for a judgement that cannot be used."""

    ranks: list[int]
    judgements: list[Judgement | None]

    @property
    def outcome(self) -> str:
        """`kept`, `disagreeing` or `incomplete`."""
        scores = [int(judgement.verdict) for judgement in self.judgements if judgement]
        if len(scores) < len(self.ranks):
            return INCOMPLETE
        return KEPT if agrees(list(zip(self.ranks, scores, strict=True))) else DISAGREEING


def agrees(scored: Sequence[tuple[int, int]]) -> bool:
    """Return whether the scores of a request's answers, given as (rank, score), agree with people's ranks."""
    if any(rank < other and score < low for (rank, score), (other, low) in permutations(scored, 2)):
        return False
    first, last = min(rank for rank, _ in scored), max(rank for rank, _ in scored)
    return min(score for rank, score in scored if rank == first) > max(score for rank, score in scored if rank == last)


def write_judging(ranked: Path, judgements: Path, out: Path, *, seed: int) -> JudgingStats:
    """Write `judging.jsonl` and `stats.json`, and return the latter.

    A row is in Alpaca's format: the judge's full prompt, and its completion. Raises DataError for files that do not
    belong together, and where no set of judgements agrees with people.
    """
    answers = read_answers([ranked])
    rows = read_records(judgements, Judgement)
    questions = {
        (one.item, one.model, one.sample): one for one in ADDITIVE.questions(answers, 1, read_key(judgements.parent))
    }
    sets = list(_sets(answers, _usable(rows, questions, judgements)))
    outcomes = Counter(one.outcome for one in sets)
    kept = [row for one in sets if one.outcome == KEPT for row in one.judgements if row]
    if not kept:
        raise DataError(
            f"no judgements agree with people: {outcomes[DISAGREEING]} sets disagree, "
            f"{outcomes[INCOMPLETE]} lack a score",
            where=str(judgements),
            todo="use a better judge (evaluate.judge.model), or more of its judgements (evaluate.judge.samples)",
        )
    thinned = _thinned(kept, seed)
    stats = JudgingStats(
        judgements=len(rows),
        unreadable=sum(not row.verdict for row in rows),
        truncated=sum(row.truncated for row in rows),
        sets=JudgementSetCounts(outcomes[KEPT], outcomes[DISAGREEING], outcomes[INCOMPLETE]),
        rows_by_score=RowsByScore(agreeing=_by_score(kept), written=_by_score(thinned)),
    )
    tasks = [Task(questions[answer_key(row)].write(unchanged), "", row.text.strip()) for row in thinned]
    write_jsonl(out / "judging.jsonl", tasks)
    write_result(out / "stats.json", stats)
    return stats


def _usable(
    rows: Sequence[Judgement], questions: Mapping[AnswerKey, JudgeQuestion], path: Path
) -> dict[int, dict[AnswerKey, Judgement]]:
    """Readable judgements by repeat, of prompts that were not truncated."""
    usable: dict[int, dict[AnswerKey, Judgement]] = defaultdict(dict)
    for row in rows:
        question = questions.get(answer_key(row))
        if row.kind != ADDITIVE.name or not question or (question.sha256 != row.prompt_sha256 and not row.truncated):
            raise DataError(
                f"the {row.kind} judgement of answer {row.sample} to {row.item!r} is not of these answers, or has "
                "another prompt",
                where=str(path),
                todo="judge them with `pacos judge --kind additive`; mark.key must lie beside the judgements",
            )
        of_repeat = usable[row.repeat]
        if row.verdict in SCORES and not row.truncated:
            of_repeat[answer_key(row)] = row
    return usable


def _sets(answers: AnswerSet, usable: Mapping[int, Mapping[AnswerKey, Judgement]]) -> Iterator[JudgementSet]:
    for of_request in by_request(answers.answers).values():
        for repeat in sorted(usable):
            judgements = [usable[repeat].get(answer_key(answer)) for _, answer in of_request]
            yield JudgementSet([rank for rank, _ in of_request], judgements)


def _thinned(rows: Sequence[Judgement], seed: int) -> list[Judgement]:
    """Drop rows of the most frequent score down to the count of the next; where sets agree there are two scores."""
    (most, count), (_, next_count) = Counter(row.verdict for row in rows).most_common(2)
    of_most = [index for index, row in enumerate(rows) if row.verdict == most]
    left_out = set(random.Random(f"{seed}:judging").sample(of_most, count - next_count))
    return [row for index, row in enumerate(rows) if index not in left_out]


def _by_score(rows: Sequence[Judgement]) -> dict[str, int]:
    counted = Counter(row.verdict for row in rows)
    return {score: counted[score] for score in SCORES}
