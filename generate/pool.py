"""The pool of accepted tasks: judges each item, and writes `dataset.jsonl` and `rejected.jsonl` as it goes.

Both files are derived: opening a pool starts them anew, and committing the journal's answers in order writes the
same bytes again. So a kill at any moment costs nothing, and there is no third state to keep in step.
"""

import json
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from pacos.config import FiltersConfig
from pacos.generate.filtering.filters import TOKENIZERS, first_broken_rule, instruction_rules, task_rules
from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.instructions import parse_instructions
from pacos.generate.prompting.parsing import ParsedItem, parse_answer
from pacos.generate.seeds import Seed
from pacos.records import DatasetRow, JsonlWriter, Rejection, Response, Task
from pacos.rouge import Neighbours, NoveltyIndex

# The floor on acceptance looks at this many items back.
RECENT_ITEMS = 2000


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item on its way in. `id` is the row's id in the dataset; `request` and `item` say where it came from."""

    id: str
    request: int
    item: int
    parsed: ParsedItem


@dataclass(frozen=True, slots=True)
class Judged:
    """A candidate and either the reason why it is left out, or its place among the tasks before it."""

    candidate: Candidate
    rejection: Rejection | None = None
    neighbours: Neighbours | None = None


@dataclass
class Tally:
    """Counts behind the yield funnel, and the figures of the accepted tasks that statistics need.

    `instructions` and `accepted` are equal where an item is a whole task. With Self-Instruct an instruction has
    `instances` read for it, of which some are accepted, and `classification` counts what was said of it.
    """

    requests: int = 0
    items: int = 0
    parsed: int = 0
    instructions: int = 0
    instances: int = 0
    accepted: int = 0
    classification: Counter[str] = field(default_factory=Counter)
    rejected: Counter[Reason] = field(default_factory=Counter)
    tokens: int = 0
    words: dict[str, list[int]] = field(default_factory=lambda: {"instruction": [], "input": [], "output": []})
    nearest: list[float] = field(default_factory=list)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT_ITEMS))


class Pool:
    """Seeds and accepted tasks. Full at `target` accepted items; what comes after is left unjudged.

    `accepted` holds them in order: (id, task). A new task must be novel against the `known` ones too, (id, task) of
    datasets that are there already. With `instructions_only` an item is an instruction (Self-Instruct),
    and its instances are written later.
    """

    def __init__(
        self,
        folder: Path,
        seeds: Sequence[Seed],
        filters: FiltersConfig,
        target: int | None = None,
        *,
        instructions_only: bool = False,
        known: Sequence[tuple[str, Task]] = (),
    ) -> None:
        self.tally = Tally()
        self.accepted: list[tuple[str, Task]] = []
        self.rules = task_rules(filters)
        self.instructions_only = instructions_only
        # Those on instances wait for the instances.
        self._rules_at_first = instruction_rules(filters) if instructions_only else self.rules
        self._target = target
        self._index = NoveltyIndex(filters.novelty, TOKENIZERS[filters.tokenizer])
        for seed in seeds:
            self._index.add(seed.id, seed.task.instruction)
        for id, task in known:
            self._index.add(id, task.instruction)
        self._dataset = _start_anew(folder / "dataset.jsonl")
        self._rejected = _start_anew(folder / "rejected.jsonl")

    @property
    def is_full(self) -> bool:
        return self._target is not None and len(self.accepted) >= self._target

    def commit_answer(self, answer: Response) -> None:
        """Judge and write the items of one answer."""
        self.tally.requests += 1
        self.tally.tokens += answer.prompt_tokens + answer.completion_tokens
        for judged in self.judge_answer(answer):
            self.write_item(judged)

    def judge_answer(self, answer: Response) -> list[Judged]:
        """An accepted item joins the pool at once, before its siblings are judged. Nothing is written or counted."""
        parse = parse_instructions if self.instructions_only else parse_answer
        items = parse(answer.text, answer.finish_reason)
        return self._judge(
            Candidate(f"{answer.request:06d}-{item:02d}", answer.request, item, parsed)
            for item, parsed in enumerate(items, 1)
        )

    def commit(self, candidates: Iterable[Candidate]) -> None:
        for judged in self._judge(candidates):
            self.write_item(judged)

    def _judge(self, candidates: Iterable[Candidate]) -> list[Judged]:
        pool_before = len(self._index)
        judged: list[Judged] = []
        for candidate in candidates:
            if self.is_full:
                break
            rejection, task = self._rejection(candidate), candidate.parsed.task
            judged.append(Judged(candidate, rejection))
            if rejection is None and task:
                self._index.add(candidate.id, task.instruction)
                self.accepted.append((candidate.id, task))
        found = iter(self._index.neighbours(pool_before))
        return [each if each.rejection else Judged(each.candidate, neighbours=next(found)) for each in judged]

    def write_item(self, judged: Judged) -> None:
        """Count one item; write its rejection, or, where it is a whole task, its row."""
        tally, task = self.tally, judged.candidate.parsed.task
        tally.items += 1
        tally.parsed += task is not None
        tally.recent.append(judged.rejection is None)
        if judged.rejection:
            self.write_rejection(judged.rejection)
            return
        tally.instructions += 1
        tally.nearest.append(judged.neighbours.nearest if judged.neighbours else 0.0)
        if task and not self.instructions_only:
            self.write_row(judged, task, judged.candidate.id)

    def write_rejection(self, rejection: Rejection) -> None:
        self.tally.rejected[Reason(rejection.reason)] += 1
        self._rejected.write(rejection)

    def write_row(self, judged: Judged, task: Task, id: str, is_classification: str = "unknown") -> None:
        candidate, found = judged.candidate, judged.neighbours
        assert found is not None, "only accepted items have rows"
        self.tally.accepted += 1
        for part, lengths in self.tally.words.items():
            lengths.append(len(getattr(task, part).split()))
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
                # The last bits of a mean depend on the machine's order of summation.
                mean_rougeL=round(found.mean, 9),
            )
        )

    def _rejection(self, candidate: Candidate) -> Rejection | None:
        parsed = candidate.parsed
        if parsed.task is None:
            return Rejection(candidate.request, candidate.item, str(parsed.reason), raw=parsed.raw)
        if broken := first_broken_rule(parsed.task, self._rules_at_first):
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


def _start_anew(path: Path) -> JsonlWriter:
    path.unlink(missing_ok=True)
    return JsonlWriter(path)
