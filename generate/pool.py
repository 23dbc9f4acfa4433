"""The pool of accepted tasks: judges each item, and writes `dataset.jsonl` and `rejected.jsonl` as it goes.

Both files are derived: opening a pool overwrites them, and committing the journal's answers in order writes the same
bytes again. So a run may be killed at any moment, and there is no further state to keep consistent.
"""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from pacos.config import FiltersConfig
from pacos.files import JsonlWriter
from pacos.generate.filtering.filters import instruction_rules, novelty_tokens, task_rules
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import first_broken_rule
from pacos.generate.prompting.alpaca import TASK_LIST
from pacos.generate.prompting.items import ListFormat, ParsedItem
from pacos.generate.stats import Tally
from pacos.records import DatasetRow, Rejection, Response, Task
from pacos.rouge import Neighbours, NoveltyIndex
from pacos.seeds import Seed
from pacos.words import is_beyond_rouge

log = logging.getLogger("pacos")


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item to be judged. `id` is the row's id in the dataset; `request` and `item` are where it came from."""

    id: str
    request: int
    item: int
    parsed: ParsedItem


@dataclass(frozen=True, slots=True)
class JudgedCandidate:
    """A candidate, and either its rejection or its similarity to the tasks before it."""

    candidate: Candidate
    rejection: Rejection | None = None
    neighbours: Neighbours | None = None


class Pool:
    """Seeds and accepted tasks. Full at `target` accepted items; later items are not judged.

    `accepted` has the accepted items in order as (id, task). A new task must be novel against `known` too, the
    (id, task) of existing datasets. Answers are parsed as `lists`; where their items are instructions alone, an
    accepted item has no row, and its instances are written later.
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
    ) -> None:
        self.tally = Tally()
        self.accepted: list[tuple[str, Task]] = []
        self.rules = task_rules(filters)
        self._lists = lists
        # Instructions alone have no instances yet to check.
        self._item_rules = self.rules if lists.whole_tasks else instruction_rules(filters)
        self._target = target
        self._index = NoveltyIndex(filters.novelty, novelty_tokens(filters))
        self._chooses_tokenizer = filters.tokenizer == "rouge"
        for seed in seeds:
            self._index.add(seed.id, seed.task.instruction)
        for id, task in known:
            self._index.add(id, task.instruction)
        self._dataset = _overwrite(folder / "dataset.jsonl")
        self._rejected = _overwrite(folder / "rejected.jsonl")

    @property
    def is_full(self) -> bool:
        """Whether the target is reached."""
        return self._target is not None and len(self.accepted) >= self._target

    def commit_answer(self, answer: Response) -> None:
        """Judge and write the items of one answer."""
        self.write_answer(answer, self.judge_answer(answer))

    def judge_answer(self, answer: Response) -> list[JudgedCandidate]:
        """Judge the items of one answer without writing or counting them.

        An accepted item joins the pool at once, before the next one is judged.
        """
        return self._judge(self._candidates(answer))

    def judge_answers(self, answers: Sequence[Response]) -> list[list[JudgedCandidate]]:
        """Judge the items of several answers as `judge_answer` does, until the pool is full; those after have no entry.

        Many together cost far less than one by one, most of all where an answer has few items.
        """
        pool_before = len(self._index)
        judged: list[list[JudgedCandidate]] = []
        for answer in answers:
            if self.is_full:
                break
            judged.append(self._decide(self._candidates(answer)))
        found = iter(self._index.neighbours(pool_before))
        return [_with_neighbours(each, found) for each in judged]

    def _candidates(self, answer: Response) -> Iterator[Candidate]:
        for item, parsed in enumerate(self._lists.parse(answer.text, answer.finish_reason), 1):
            yield Candidate(f"{answer.request:06d}-{item:02d}", answer.request, item, parsed)

    def write_answer(self, answer: Response, judged: Iterable[JudgedCandidate]) -> None:
        """Count an answer, and write its items."""
        self.tally.count_answers([answer])
        for each in judged:
            self.write_item(each)

    def commit(self, candidates: Iterable[Candidate]) -> None:
        """Judge and write candidates."""
        for judged in self._judge(candidates):
            self.write_item(judged)

    def _judge(self, candidates: Iterable[Candidate]) -> list[JudgedCandidate]:
        pool_before = len(self._index)
        return _with_neighbours(self._decide(candidates), iter(self._index.neighbours(pool_before)))

    def _decide(self, candidates: Iterable[Candidate]) -> list[JudgedCandidate]:
        judged: list[JudgedCandidate] = []
        for candidate in candidates:
            if self.is_full:
                break
            rejection, task = self._rejection(candidate), candidate.parsed.task
            judged.append(JudgedCandidate(candidate, rejection))
            if rejection is None and task:
                self._index.add(candidate.id, task.instruction)
                self.accepted.append((candidate.id, task))
        return judged

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
        tally.nearest.append(judged.neighbours.nearest if judged.neighbours else 0.0)
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

    def _rejection(self, candidate: Candidate) -> Rejection | None:
        parsed = candidate.parsed
        if parsed.task is None:
            return Rejection(candidate.request, candidate.item, str(parsed.reason), raw=parsed.raw)
        if broken := first_broken_rule(parsed.task, self._item_rules):
            figures = json.dumps(broken.figures, ensure_ascii=False)
            return Rejection(candidate.request, candidate.item, broken.reason, figures, raw=parsed.raw)
        if near := self._index.rejects(parsed.task.instruction):
            figures = json.dumps({"threshold": self._index.threshold})
            return Rejection(
                candidate.request, candidate.item, Reason.NOVELTY, figures, near.id, near.score, raw=parsed.raw
            )
        return None

    def __enter__(self) -> "Pool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dataset.close()
        self._rejected.close()
        if count := self.tally.unicode_texts:
            log.info(
                "novelty of %d instructions is by words of any script, as rouge's tokenizer misses most of theirs",
                count,
            )


def _with_neighbours(judged: Iterable[JudgedCandidate], found: Iterator[Neighbours]) -> list[JudgedCandidate]:
    """Candidates with the next of `found` for each that is accepted."""
    return [each if each.rejection else JudgedCandidate(each.candidate, neighbours=next(found)) for each in judged]


def _overwrite(path: Path) -> JsonlWriter:
    path.unlink(missing_ok=True)
    return JsonlWriter(path)
