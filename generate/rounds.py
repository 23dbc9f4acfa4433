"""Candidates judged by several workers, with the decisions of judging them one by one.

While round r is judged, the workers' pools have the tasks accepted up to round r − 2. What was accepted since, in
round r − 1 and in round r itself, is a small index here, which decides in order. It numbers the tokens of all accepted
tasks, and the workers take these as its numbers. So a worker never waits:

    workers     judge 0 · judge 1 · judge 2, neighbours 0 · judge 3, neighbours 1 · …
    here                  settle 0    settle 1                settle 2, write 0
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from pacos.config import FiltersConfig
from pacos.generate.candidates import Candidate, JudgedCandidate, by_answer, with_neighbours
from pacos.generate.compared import empty_index
from pacos.generate.filtering.rule import BrokenRule
from pacos.generate.pool import Pool
from pacos.generate.workers import Workers
from pacos.novelty.group import Match, NumberedTexts
from pacos.novelty.vocabulary import Numbered

# The items of each answer, of several answers.
Items = Sequence[Sequence[Candidate]]

# Candidates for each worker in a round: enough to make messages cheap, few enough to keep what is settled here small.
PER_WORKER = 2048

# Texts that the index here may hold before it forgets all but those of the last round. Others do no harm: the workers
# have them too, and their own match stands where a score is the same.
RECENT = 1 << 12

# Texts that the workers take into their pools at a time before anything is judged.
_FIRST = 1 << 12


class Rounds:
    """Judges rounds of candidates for a pool whose tasks the workers have."""

    def __init__(self, pool: Pool, workers: Workers, filters: FiltersConfig) -> None:
        self._pool, self._workers = pool, workers
        self._sent: deque[Items] = deque()
        self._settled: deque[tuple[Items, list[JudgedCandidate], bool]] = deque()
        self._recent = empty_index(filters)
        self._last_accepted: tuple[list[str], NumberedTexts] | None = None
        self._rows = pool.rows
        for first in range(0, len(pool.compared), _FIRST):
            some = pool.compared[first : first + _FIRST]
            tokens = self._recent.tokens
            self._recent.forget_texts()
            self._recent.extend([id for id, _ in some], [task.instruction for _, task in some])
            workers.extend([id for id, _ in some], *self._recent.numbered_since(0, tokens))
        self._recent.forget_texts()

    def judged(self, rounds: Iterable[Items]) -> Iterator[list[list[JudgedCandidate]]]:
        """The judged candidates of each answer, round by round, until the pool is full."""
        for items in rounds:
            self._send(items)
            if len(self._sent) < 2:
                continue
            self._settle()
            if len(self._settled) > 1:
                yield self._finished()
            if self._pool.is_full:
                break
        while self._sent and not self._pool.is_full:
            self._settle()
            if len(self._settled) > 1:
                yield self._finished()
        for _ in self._sent:
            self._workers.verdicts()  # what came after the pool was full
        while self._settled:
            yield self._finished()

    def _send(self, items: Items) -> None:
        self._workers.judge([candidate.parsed.task for each in items for candidate in each])
        self._sent.append(items)

    def _settle(self) -> None:
        items = self._sent.popleft()
        candidates = [candidate for each in items for candidate in each]
        verdicts = self._workers.verdicts()
        broken = [verdict if isinstance(verdict, BrokenRule) else None for verdict in verdicts.each]
        whole = [
            (candidate.id, verdict)
            for candidate, verdict in zip(candidates, verdicts.each, strict=True)
            if candidate.parsed.task and not isinstance(verdict, BrokenRule)
        ]
        matches = self._matches([id for id, _ in whole], verdicts.numbered, [near for _, near in whole])
        judged = self._pool.settle(candidates, broken, matches)
        self._settled.append((items, judged, self._pool.is_full))

    def _matches(
        self, ids: Sequence[str], groups: Sequence[Numbered], earlier: Sequence[Match | None]
    ) -> list[Match | None]:
        """What each candidate is too near to, up to the one that fills the pool; the workers take the others."""
        if len(self._recent) > RECENT and self._last_accepted:
            self._recent.forget_texts()
            self._recent.extend_numbered(*self._last_accepted, tokens=())
        before, tokens = len(self._recent), self._recent.tokens
        matches = self._recent.admit_numbered(ids, groups, earlier=earlier, at_most=self._pool.room)
        accepted = [id for id, near in zip(ids, matches, strict=False) if near is None]
        numbered, new_tokens = self._recent.numbered_since(before, tokens)
        self._last_accepted = accepted, numbered
        self._workers.extend(accepted, numbered, new_tokens)
        self._workers.ask_neighbours(self._rows, self._rows + len(accepted))
        self._rows += len(accepted)
        return matches

    def _finished(self) -> list[list[JudgedCandidate]]:
        items, judged, is_full = self._settled.popleft()
        return by_answer(items, with_neighbours(judged, self._workers.neighbours()), is_full)
