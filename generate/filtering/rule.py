"""What a filter rule is, and how a task is checked against several.

A rule is one function and one line: in a filter preset (`published.py`) where a published system has it, else among the
defect detectors (`defects.py`).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pacos.records import Task

Figures = dict[str, str | int | float]


@dataclass(frozen=True, slots=True)
class Rule:
    """A check of one task: returns what it measured where the task breaks the rule, and None where it does not.

    `reason` is what `rejected.jsonl` and the yield funnel call it. Rules that are `ascii_only` are left out where
    `filters.tokenizer` is "unicode".
    """

    reason: str
    check: Callable[[Task], Figures | None]
    ascii_only: bool = False


class BrokenRule(NamedTuple):
    """The reason of the rule that a task breaks, and what the rule measured."""

    reason: str
    figures: Figures


def first_broken_rule(task: Task, rules: Iterable[Rule]) -> BrokenRule | None:
    """The first of the rules, in their order, that the task breaks; None if it passes all of them."""
    for rule in rules:
        if (figures := rule.check(task)) is not None:
            return BrokenRule(rule.reason, figures)
    return None
