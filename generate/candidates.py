"""Items of answers on their way into the pool, and what the filters say of them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pacos.config import FiltersConfig
from pacos.generate.filtering.filters import instruction_rules, task_rules
from pacos.generate.filtering.reasons import Reason
from pacos.generate.filtering.rule import BrokenRule, Rule, first_broken_rule
from pacos.generate.prompting.items import ParsedItem
from pacos.novelty.group import Match
from pacos.novelty.neighbours import Neighbours
from pacos.records import Rejection, Task


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item to be judged. `id` is the row's id in the dataset; `request` and `item` are where it came from."""

    id: str
    request: int
    item: int
    parsed: ParsedItem

    @property
    def instruction(self) -> str:
        """The instruction of an item that is a task."""
        assert self.parsed.task is not None, f"{self.id} is no task"
        return self.parsed.task.instruction


@dataclass(frozen=True, slots=True)
class JudgedCandidate:
    """A candidate, and either its rejection or its similarity to the tasks before it."""

    candidate: Candidate
    rejection: Rejection | None = None
    neighbours: Neighbours | None = None


def item_rules(filters: FiltersConfig, whole_tasks: bool) -> tuple[Rule, ...]:
    """The rules for items; instructions alone have no instances yet to check."""
    return task_rules(filters) if whole_tasks else instruction_rules(filters)


def broken_rule(task: Task | None, rules: Sequence[Rule]) -> BrokenRule | None:
    """The first rule that an item breaks; None for what is no task, which has a reason of its own."""
    return first_broken_rule(task, rules) if task else None


def rejection(
    candidate: Candidate, broken: BrokenRule | None, near: Match | None, threshold: float
) -> Rejection | None:
    """Why a candidate is rejected: it is no task, it breaks a rule, or a task is too near; None if it is not."""
    parsed = candidate.parsed
    if parsed.task is None:
        return Rejection(candidate.request, candidate.item, str(parsed.reason), raw=parsed.raw)
    if broken:
        figures = json.dumps(broken.figures, ensure_ascii=False)
        return Rejection(candidate.request, candidate.item, broken.reason, figures, raw=parsed.raw)
    if near:
        figures = json.dumps({"threshold": threshold})
        return Rejection(candidate.request, candidate.item, Reason.NOVELTY, figures, near.id, near.score, parsed.raw)
    return None


def with_neighbours(judged: Iterable[JudgedCandidate], found: Iterable[Neighbours]) -> list[JudgedCandidate]:
    """Candidates with the next of `found` for each that is accepted."""
    rest = iter(found)
    return [each if each.rejection else JudgedCandidate(each.candidate, neighbours=next(rest)) for each in judged]


def by_answer(
    items: Sequence[Sequence[Candidate]], judged: Sequence[JudgedCandidate], is_full: bool
) -> list[list[JudgedCandidate]]:
    """The judged candidates of each answer. Where they filled the pool, answers after that have no entry."""
    found: list[list[JudgedCandidate]] = []
    first = 0
    for own in items:
        if is_full and first >= len(judged):
            break
        found.append(list(judged[first : first + len(own)]))
        first += len(own)
    return found
