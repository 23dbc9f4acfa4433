"""The pool of accepted tasks: judges each item, and writes `dataset.jsonl` and `rejected.jsonl` as it goes.

Both files are derived: opening a pool deletes them, or cuts them to where a fitting snapshot ends, and committing the
journal's answers in order writes the same bytes again. So a run may be killed at any moment, and there is no further
state to keep consistent.
"""

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from pacos.config import FiltersConfig
from pacos.files import JsonlWriter, read_jsonl
from pacos.generate.candidates import (
    Candidate,
    JudgedCandidate,
    broken_rule,
    by_answer,
    item_rules,
    rejection,
    with_neighbours,
)
from pacos.generate.compared import compared_index, empty_index
from pacos.generate.filtering.filters import task_rules
from pacos.generate.filtering.rule import BrokenRule
from pacos.generate.pool_snapshot import FILES, Earlier, PoolSnapshot
from pacos.generate.prompting.alpaca import TASK_LIST
from pacos.generate.prompting.items import ListFormat
from pacos.generate.stats import Tally
from pacos.novelty.group import Match
from pacos.records import DatasetRow, Rejection, Response, Task
from pacos.seeds import Seed
from pacos.words import is_beyond_rouge

log = logging.getLogger("pacos")


class Pool:
    """Seeds and accepted tasks. Full at `target` accepted items, of which there are `count`; later ones are not judged.

    `accepted` has the accepted items in order as (id, task), unless the pool is not to remember them; `compared` those
    that a new task must be novel against from the beginning: seeds, and `known`, of existing datasets. Answers are
    parsed as `lists`; where their items are instructions alone, an accepted item has no row, and its instances are
    written later. A pool that is not `indexed` judges nothing itself (`rounds.py`).

    With `earlier` answers the pool may begin as it was after some of them: `sizes` has how many items were accepted
    after each of these, which are not to be committed again.
    """

    def __init__(
        self,
        folder: Path,
        seeds: Sequence[Seed],
        filters: FiltersConfig,
        target: int | None = None,
        *,
        lists: ListFormat = TASK_LIST,
        known: Sequence[tuple[str, Task]] = (),
        remembers: bool = True,
        indexed: bool = True,
        earlier: Earlier | None = None,
    ) -> None:
        self.tally = Tally()
        self.accepted: list[tuple[str, Task]] = []
        self.rules = task_rules(filters)
        self.count = 0
        self._is_whole = True  # no commit has failed halfway
        self._remembers = remembers
        self._lists = lists
        self._item_rules = item_rules(filters, lists.whole_tasks)
        self._target = target
        self._index = empty_index(filters)
        self._chooses_tokenizer = filters.tokenizer == "rouge"
        self.compared = [(seed.id, seed.task) for seed in seeds] + list(known)
        self._snapshot = (
            PoolSnapshot(folder, filters, self.compared, earlier) if earlier and lists.whole_tasks else None
        )
        self.sizes: Sequence[int] = ()
        if not self._restore(folder):
            # Another index, as a restore that failed may have filled that one.
            self._index = compared_index(
                self.compared if indexed else [], filters, folder / ".known" if earlier else None
            )
            for name in FILES:
                (folder / name).unlink(missing_ok=True)
        self._dataset, self._rejected = (JsonlWriter(folder / name) for name in FILES)

    @property
    def is_full(self) -> bool:
        """Whether the target is reached."""
        return self._target is not None and self.count >= self._target

    @property
    def room(self) -> int | None:
        """How many more items may be accepted; None without a target."""
        return None if self._target is None else self._target - self.count

    @property
    def rows(self) -> int:
        """How many tasks a new one is compared with: seeds, known and accepted ones."""
        return len(self.compared) + self.count

    def commit_answer(self, answer: Response) -> None:
        """Judge and write the items of one answer."""
        self._is_whole = False
        self.write_answer(answer, self.judge_answer(answer))
        self._is_whole = True
        # What fills the pool is not the whole of its answer, and a larger target would need that.
        if self._snapshot and not self.is_full:
            self._snapshot.committed(answer, self.count)
            if self._snapshot.is_due:
                self._snapshot.save(self._index, self.tally)

    def judge_answer(self, answer: Response) -> list[JudgedCandidate]:
        """Judge the items of one answer without writing or counting them.

        An accepted item joins the pool at once, before the next one is judged.
        """
        return self.judge(self.candidates(answer))

    def judge_answers(self, answers: Sequence[Response]) -> list[list[JudgedCandidate]]:
        """Judge the items of several answers as `judge_answer` does, until the pool is full; those after have no entry.

        Many together cost far less than one by one.
        """
        items = [self.candidates(answer) for answer in answers]
        return by_answer(items, self.judge([candidate for each in items for candidate in each]), self.is_full)

    def candidates(self, answer: Response) -> list[Candidate]:
        """The items of an answer."""
        return [
            Candidate(f"{answer.request:06d}-{item:02d}", answer.request, item, parsed)
            for item, parsed in enumerate(self._lists.parse(answer.text, answer.finish_reason), 1)
        ]

    def write_answer(self, answer: Response, judged: Iterable[JudgedCandidate]) -> None:
        """Count an answer, and write its items."""
        self.tally.count_answers([answer])
        for each in judged:
            self.write_item(each)

    def judge(self, candidates: Sequence[Candidate]) -> list[JudgedCandidate]:
        """Judge candidates in their order, until the pool is full; those after are left out."""
        pool_before = len(self._index)
        broken = [broken_rule(candidate.parsed.task, self._item_rules) for candidate in candidates]
        whole = [each for each, found in zip(candidates, broken, strict=True) if each.parsed.task and not found]
        ids, texts = [each.id for each in whole], [each.instruction for each in whole]
        matches = self._index.admit(ids, texts, at_most=self.room)
        return with_neighbours(self.settle(candidates, broken, matches), self._index.neighbours(pool_before))

    def settle(
        self, candidates: Sequence[Candidate], broken: Sequence[BrokenRule | None], matches: Iterable[Match | None]
    ) -> list[JudgedCandidate]:
        """Candidates with their rejections, up to the one that fills the pool; those without join it.

        `broken` are the rules that they break, and `matches` the nearest tasks, if too near, of those that are tasks
        and break none.
        """
        judged: list[JudgedCandidate] = []
        nearest = iter(matches)
        for candidate, rule in zip(candidates, broken, strict=True):
            if self.is_full:
                break
            near = next(nearest) if candidate.parsed.task and not rule else None
            rejected = rejection(candidate, rule, near, self._index.threshold)
            judged.append(JudgedCandidate(candidate, rejected))
            if rejected is None:
                self._join(candidate)
        return judged

    def _restore(self, folder: Path) -> bool:
        restored = self._snapshot.restore(self._index, self._target) if self._snapshot else None
        if not restored:
            return False
        self.tally, self.sizes = restored.tally, list(restored.sizes)
        self.count = self.sizes[-1]
        if self._remembers:
            rows = read_jsonl(folder / "dataset.jsonl")
            self.accepted += [(row["id"], Task(row["instruction"], row["input"], row["output"])) for _, row in rows]
        log.info("%d answers are taken from the index of an earlier session", len(self.sizes))
        return True

    def _join(self, candidate: Candidate) -> None:
        self.count += 1
        if self._remembers and candidate.parsed.task:
            self.accepted.append((candidate.id, candidate.parsed.task))

    def write_item(self, judged: JudgedCandidate) -> None:
        """Count one item, and write its rejection or, if it is a whole task, its row."""
        tally, task = self.tally, judged.candidate.parsed.task
        tally.items += 1
        tally.parsed += task is not None
        tally.recent.append(judged.rejection is None)
        if judged.rejection:
            self.write_rejection(judged.rejection)
            return
        tally.instructions += 1
        if judged.neighbours:
            tally.nearest.append(judged.neighbours.nearest)
            tally.sampled += judged.neighbours.sampled
        if task and self._chooses_tokenizer:
            tally.unicode_texts += is_beyond_rouge(task.instruction)
        if task and self._lists.whole_tasks:
            self.write_row(judged, task, judged.candidate.id)

    def write_rejection(self, rejection: Rejection) -> None:
        """Count and write a rejected item or instance."""
        self.tally.rejected[rejection.reason] += 1
        self._rejected.write(rejection)

    def write_row(self, judged: JudgedCandidate, task: Task, id: str, is_classification: str = "unknown") -> None:
        """Count and write an accepted task, which is or belongs to the accepted item `judged`."""
        candidate, found = judged.candidate, judged.neighbours
        assert found is not None, "only accepted items have rows"
        self.tally.count_task(task)
        self._dataset.write(
            DatasetRow(
                instruction=task.instruction,
                input=task.input,
                output=task.output,
                id=id,
                instruction_id=candidate.id,
                request=candidate.request,
                item=candidate.item,
                is_classification=is_classification,
                nearest_id=found.nearest_id,
                nearest_rougeL=found.nearest,
                # The last bits of a mean depend on the machine's summation order.
                mean_rougeL=round(found.mean, 9),
            )
        )

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dataset.close()
        self._rejected.close()
        if self._snapshot and self._snapshot.is_due_at_the_end and self._is_whole and not self.is_full:
            self._snapshot.save(self._index, self.tally)
        if count := self.tally.sampled:
            log.info("nearest_rougeL and mean_rougeL of %d tasks are over samples of the pool (stats.json)", count)
        if count := self.tally.unicode_texts:
            log.info(
                "novelty of %d instructions is by words of any script, as rouge's tokenizer misses most of theirs",
                count,
            )
