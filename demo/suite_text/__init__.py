"""The evaluation suite's tasks, written by hand for this repository, one module per kind of skill."""

from demo.suite_text import extraction, generation, inference, labels, reference, rewriting
from demo.suite_text.suite_task import SuiteTask

SUITE: tuple[SuiteTask, ...] = (
    *inference.TASKS,
    *reference.TASKS,
    *labels.TASKS,
    *extraction.TASKS,
    *rewriting.TASKS,
    *generation.TASKS,
)
