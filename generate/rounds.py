"""Candidates judged by several workers, with the decisions of judging them one by one.

While round r is judged, the workers' pools have the tasks accepted up to round r − 2. What was accepted since, in
round r − 1 and in round r itself, is a small index here, which decides in order. So a worker never waits:

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
from pacos.generate.workers import Verdict, Workers

# The items of each answer, of several answers.
Items = Sequence[Sequence[Candidate]]

# Candidates for each worker in a round: enough to make messages cheap, few enough to keep what is settled here small.
PER_WORKER = 2048

# Texts that the index here may hold before it begins anew. Those before the last two rounds do no harm: the workers
# have them too, and their own match stands where a score is the same.
RECENT = 1 << 14


class Rounds:
    """Judges rounds of candidates for a pool whose tasks the workers have."""

    def __init__(self, pool: Pool, workers: Workers, filters: FiltersConfig) -> None:
        self._pool, self._workers, self._filters = pool, workers, filters
        self._sent: deque[Items] = deque()
        self._settled: deque[tuple[Items, list[JudgedCandidate], bool]] = deque()
        self._last_accepted: list[Candidate] = []
        self._recent = empty_index(filters)
        self._rows = pool.rows

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
            self._workers.receive()  # what came after the pool was full
        while self._settled:
            yield self._finished()

    def _send(self, items: Items) -> None:
        self._workers.judge([candidate.parsed.task for each in items for candidate in each])
        self._sent.append(items)

    def _settle(self) -> None:
        items = self._sent.popleft()
        candidates = [candidate for each in items for candidate in each]
        verdicts: list[Verdict] = self._workers.receive()
        broken = [verdict if isinstance(verdict, BrokenRule) else None for verdict in verdicts]
        whole = [
            (candidate, verdict)
            for candidate, verdict in zip(candidates, verdicts, strict=True)
            if candidate.parsed.task and not isinstance(verdict, BrokenRule)
        ]
        if len(self._recent) > RECENT:
            self._recent = empty_index(self._filters)
            self._recent.extend(*_texts(self._last_accepted))
        ids, texts = _texts([candidate for candidate, _ in whole])
        matches = self._recent.admit(ids, texts, earlier=[near for _, near in whole], at_most=self._pool.room)
        judged = self._pool.settle(candidates, broken, matches)
        self._last_accepted = [each.candidate for each in judged if not each.rejection]
        self._workers.extend(*_texts(self._last_accepted))
        self._workers.ask_neighbours(self._rows, self._rows + len(self._last_accepted))
        self._rows += len(self._last_accepted)
        self._settled.append((items, judged, self._pool.is_full))

    def _finished(self) -> list[list[JudgedCandidate]]:
        items, judged, is_full = self._settled.popleft()
        return by_answer(items, with_neighbours(judged, self._workers.receive()), is_full)


def _texts(candidates: Sequence[Candidate]) -> tuple[list[str], list[str]]:
    return [each.id for each in candidates], [each.instruction for each in candidates]
