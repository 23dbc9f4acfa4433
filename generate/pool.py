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
from pacos.generate.filters import first_broken_rule
from pacos.generate.parsing import ParsedItem, parse_answer
from pacos.generate.reasons import Reason
from pacos.generate.seeds import Seed
from pacos.records import DatasetRow, JsonlWriter, Rejection, Response, Task
from pacos.rouge import NoveltyIndex

# The floor on acceptance looks at this many items back.
RECENT_ITEMS = 2000


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item on its way in. `id` is the row's id in the dataset; `request` and `item` say where it came from."""

    id: str
    request: int
    item: int
    parsed: ParsedItem


@dataclass
class Tally:
    """Counts behind the yield funnel, and the figures of the accepted tasks that statistics need."""

    requests: int = 0
    items: int = 0
    parsed: int = 0
    accepted: int = 0
    rejected: Counter[Reason] = field(default_factory=Counter)
    tokens: int = 0
    words: dict[str, list[int]] = field(default_factory=lambda: {"instruction": [], "input": [], "output": []})
    nearest: list[float] = field(default_factory=list)
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT_ITEMS))


class Pool:
    """Seeds and accepted tasks. Full at `target` accepted tasks; what comes after is left unjudged."""

    def __init__(self, folder: Path, seeds: Sequence[Seed], filters: FiltersConfig, target: int | None = None) -> None:
        self.tally = Tally()
        self._preset = filters.preset
        self._target = target
        self._index = NoveltyIndex(filters.novelty)
        for seed in seeds:
            self._index.add(seed.id, seed.task.instruction)
        self._dataset = _start_anew(folder / "dataset.jsonl")
        self._rejected = _start_anew(folder / "rejected.jsonl")

    @property
    def is_full(self) -> bool:
        return self._target is not None and self.tally.accepted >= self._target

    def commit_answer(self, answer: Response) -> None:
        """Judge the items of one answer. An accepted one joins the pool at once, before its siblings are judged."""
        self.tally.requests += 1
        self.tally.tokens += answer.prompt_tokens + answer.completion_tokens
        items = parse_answer(answer.text, answer.finish_reason)
        self.commit(
            Candidate(f"{answer.request:06d}-{item:02d}", answer.request, item, parsed)
            for item, parsed in enumerate(items, 1)
        )

    def commit(self, candidates: Iterable[Candidate]) -> None:
        pool_before = len(self._index)
        accepted: list[tuple[Candidate, Task]] = []
        for candidate in candidates:
            if self.is_full:
                break
            rejection, task = self._rejection(candidate), candidate.parsed.task
            self._count(candidate, rejection)
            if rejection or task is None:
                self._rejected.write(rejection)
            else:
                self._index.add(candidate.id, task.instruction)
                accepted.append((candidate, task))
        neighbours = self._index.neighbours(pool_before)
        for (candidate, task), found in zip(accepted, neighbours, strict=True):
            self.tally.nearest.append(found.nearest)
            self._dataset.write(
                DatasetRow(
                    instruction=task.instruction,
                    input=task.input,
                    output=task.output,
                    id=candidate.id,
                    instruction_id=candidate.id,
                    request=candidate.request,
                    item=candidate.item,
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
        if broken := first_broken_rule(parsed.task, self._preset):
            figures = json.dumps(broken.figures, ensure_ascii=False)
            return Rejection(candidate.request, candidate.item, broken.reason, figures, raw=parsed.raw)
        if near := self._index.rejects(parsed.task.instruction):
            figures = json.dumps({"threshold": self._index.threshold})
            return Rejection(
                candidate.request, candidate.item, Reason.NOVELTY, figures, near.id, near.score, raw=parsed.raw
            )
        return None

    def _count(self, candidate: Candidate, rejection: Rejection | None) -> None:
        tally, task = self.tally, candidate.parsed.task
        tally.items += 1
        tally.parsed += task is not None
        tally.recent.append(rejection is None)
        if rejection:
            tally.rejected[Reason(rejection.reason)] += 1
        elif task:
            tally.accepted += 1
            for part, lengths in tally.words.items():
                lengths.append(len(getattr(task, part).split()))

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
