"""The rows of an Alpaca-format file as candidates, read as they are asked for."""

import logging
from collections.abc import Iterator
from pathlib import Path

from pacos.errors import DataError, OtherForm
from pacos.files import line_count, read_rows, record_text
from pacos.generate.candidates import Candidate
from pacos.generate.filtering.reasons import Reason
from pacos.generate.prompting.answer_text import plain_task
from pacos.generate.prompting.items import ParsedItem
from pacos.records import parse_task

log = logging.getLogger("pacos")


class TaskRows:
    """The rows of a file of tasks, one pass each time they are iterated over; a row that is no task is `malformed`.

    Raises DataError where the file is not rows at all or none of its rows is a task, before anything is iterated over.
    `count` is how many lines it has, 0 where it is a JSON list.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._complaints = 0
        self._first: DataError | None = None
        self._refuse_without_any_task()
        self.count = line_count(path)

    def __iter__(self) -> Iterator[Candidate]:
        self._complaints, self._first = 0, None
        for number, (where, values) in enumerate(read_rows(self._path), 1):
            try:
                task = parse_task(values, where=where)
                parsed = ParsedItem(record_text(task), plain_task(task))
            except OtherForm:
                raise
            except DataError as broken:
                self._complaints += 1
                self._first = self._first or broken
                parsed = ParsedItem(record_text(values), reason=Reason.MALFORMED)
            yield Candidate(f"row-{number:06d}", 0, number, parsed)

    def warn(self) -> None:
        """Log how many of the rows read were no tasks."""
        if self._first:
            log.warning(
                "%s: %d rows are not tasks and are rejected; the first: %s", self._path, self._complaints, self._first
            )

    def _refuse_without_any_task(self) -> None:
        if any(candidate.parsed.task for candidate in self):
            return
        if self._first:
            raise self._first
        raise DataError("holds no tasks", where=str(self._path), todo="generate some first, or point to another file")
