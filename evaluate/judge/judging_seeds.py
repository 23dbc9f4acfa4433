"""`pacos judging`: what a model learns of judging, from judgements that agree with people (EFT).

Self-Rewarding LMs (Yuan et al. 2401.10020, section 3.1) keep a judgement where its ranking agrees with the human one,
and leave open what a tie is. Here the judgements of one request that bear the same repeat are one set, kept or left as
a whole: kept if all are readable, no pair that people rank apart is scored the other way round, and every best answer
has more points than every worst; between those, a tie is no disagreement. The score that is given most is thinned out
to the number of the next, as the paper thins out its 4s.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.evaluate.judge.answers import Answers, read_answers
from pacos.evaluate.judge.prompts import SCORES
from pacos.evaluate.judge.questions import Question, ask_about
from pacos.evaluate.judge.ranking import Key, by_request, key_of
from pacos.records import Judgement, Task, read_records, write_json, write_jsonl

KEPT, DISAGREEING, INCOMPLETE = "kept", "disagreeing", "incomplete"


@dataclass(frozen=True, slots=True)
class JudgementSet:
    """One repeat's judgements of a request's answers, and their ranks; None for a judgement that cannot be used."""

    ranks: list[int]
    judgements: list[Judgement | None]

    @property
    def fate(self) -> str:
        scores = [int(judgement.verdict) for judgement in self.judgements if judgement]
        if len(scores) < len(self.ranks):
            return INCOMPLETE
        return KEPT if agrees(list(zip(self.ranks, scores, strict=True))) else DISAGREEING


def agrees(scored: Sequence[tuple[int, int]]) -> bool:
    """Whether (rank, score) of a request's answers keep the rule above."""
    if any(rank < other and score < low for (rank, score), (other, low) in permutations(scored, 2)):
        return False
    first, last = min(rank for rank, _ in scored), max(rank for rank, _ in scored)
    return min(score for rank, score in scored if rank == first) > max(score for rank, score in scored if rank == last)


def write_judging(ranked: Path, judgements: Path, out: Path, *, seed: int) -> dict[str, Any]:
    """Write `judging.jsonl` (Alpaca's form: the judge's whole prompt, and what it said) and `stats.json`; return the
    latter.

    Raises DataError for files that do not belong together, and where no set of judgements agrees with people.
    """
    answers = read_answers([ranked])
    rows = read_records(judgements, Judgement)
    questions = {(one.item, one.model, one.sample): one for one in ask_about("additive", answers, 1)}
    sets = list(_sets(answers, _usable(rows, questions, judgements)))
    found = Counter(one.fate for one in sets)
    kept = [row for one in sets if one.fate == KEPT for row in one.judgements if row]
    if not kept:
        raise DataError(
            f"no judgements agree with people: {found[DISAGREEING]} sets disagree, {found[INCOMPLETE]} lack a score",
            where=str(judgements),
            todo="take a better judge (evaluate.judge.model), or more of its judgements (evaluate.judge.samples)",
        )
    thinned = _thinned(kept, seed)
    stats = {
        "judgements": len(rows),
        "unreadable": sum(not row.verdict for row in rows),
        "truncated": sum(row.truncated for row in rows),
        "sets": {name: found[name] for name in (KEPT, DISAGREEING, INCOMPLETE)},
        "rows_by_score": {"agreeing": _by_score(kept), "written": _by_score(thinned)},
    }
    write_jsonl(
        out / "judging.jsonl",
        [Task(questions[key_of(row)].write(lambda text: text), "", row.text.strip()) for row in thinned],
    )
    write_json(out / "stats.json", stats)
    return stats


def _usable(
    rows: Sequence[Judgement], questions: Mapping[Key, Question], path: Path
) -> dict[int, dict[Key, Judgement]]:
    """Readable judgements by repeat, of prompts that the judge saw whole."""
    usable: dict[int, dict[Key, Judgement]] = defaultdict(dict)
    for row in rows:
        question = questions.get(key_of(row))
        if row.kind != "additive" or not question or (question.sha256 != row.prompt_sha256 and not row.truncated):
            raise DataError(
                f"the {row.kind} judgement of answer {row.sample} to {row.item!r} is not of these answers, or was "
                "asked for in other words",
                where=str(path),
                todo="judge them with `pacos judge --kind additive`",
            )
        of_repeat = usable[row.repeat]
        if row.verdict in SCORES and not row.truncated:
            of_repeat[key_of(row)] = row
    return usable


def _sets(answers: Answers, usable: Mapping[int, Mapping[Key, Judgement]]) -> Iterator[JudgementSet]:
    for of_request in by_request(answers.answers).values():
        for repeat in sorted(usable):
            judgements = [usable[repeat].get(key_of(answer)) for _, answer in of_request]
            yield JudgementSet([rank for rank, _ in of_request], judgements)


def _thinned(rows: Sequence[Judgement], seed: int) -> list[Judgement]:
    """With no more rows of the most frequent score than of the next; agreement takes two scores at least."""
    (most, count), (_, next_count) = Counter(row.verdict for row in rows).most_common(2)
    of_most = [index for index, row in enumerate(rows) if row.verdict == most]
    left_out = set(random.Random(f"{seed}:judging").sample(of_most, count - next_count))
    return [row for index, row in enumerate(rows) if index not in left_out]


def _by_score(rows: Sequence[Judgement]) -> dict[str, int]:
    counted = Counter(row.verdict for row in rows)
    return {score: counted[score] for score in SCORES}
