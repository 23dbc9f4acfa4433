"""A rule on one task: a function to the figures that condemn the task, or None, and the reason it stands for."""

from collections.abc import Callable

from pacos.generate.filtering.reasons import Reason
from pacos.records import Task

Figures = dict[str, str | int | float]
Rule = tuple[Reason, Callable[[Task], Figures | None]]
