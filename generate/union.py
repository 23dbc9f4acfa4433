"""The answers of several journals as one: the shards of a run, whichever machine wrote them.

Their `journal.json` must agree on the settings and the model, and two answers to one request must be equal.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from pacos.errors import DataError, RunError
from pacos.generate.journal import COMPANION, JOURNAL, changed_settings, read_companion, read_responses
from pacos.generate.shards import Shard
from pacos.records import Response

SHOWN = 8  # shards and ranges of requests that an error lists


@dataclass(frozen=True, slots=True)
class Union:
    """The answers by request, and how many requests were to be asked (`until`): those of 0 to until - 1.

    `of` is how many shards all journals are from; 0 where they differ.
    """

    answers: dict[int, Response]
    until: int
    of: int

    @property
    def whole(self) -> int:
        """How many answers there are before the first request without one."""
        return next(iter(self.missing), self.until)

    @property
    def missing(self) -> list[int]:
        """The requests without an answer."""
        return [request for request in range(self.until) if request not in self.answers]

    def pending(self) -> str:
        """What is missing, as an error tells it: the shards with how many of their requests, or ranges of requests."""
        if not self.of:
            ranges = list(_ranges(self.missing))
            return f"requests {_some(ranges)}"
        counts = Counter(str(Shard.holding(request, self.of)) for request in self.missing)
        shards = [f"{shard} ({count} requests)" for shard, count in sorted(counts.items(), key=_by_number)]
        return f"shard{'s' if len(shards) > 1 else ''} {_some(shards)}"


def is_sharded(journals: Sequence[Path]) -> bool:
    """Whether journals are to be united: they are several, or a part of the requests."""
    if len(journals) != 1:
        return True
    companion = read_companion(journals[0].parent / COMPANION)
    return bool(companion and companion["shard"])


def journal_files(paths: Sequence[Path]) -> list[Path]:
    """The journals that are named, and those in the folders that are named. Raises DataError for one without any."""
    found: dict[Path, Path] = {}
    for path in paths:
        here = [path / JOURNAL] if (path / JOURNAL).exists() else sorted(path.glob(f"*/{JOURNAL}"))
        if path.is_dir() and not here:
            raise DataError(
                "no journal is in this folder", where=str(path), todo=f"name the {JOURNAL} of each shard, or its folder"
            )
        found.update((file.resolve(), file) for file in (here if path.is_dir() else [path]))
    return list(found.values())


def unite(journals: Sequence[Path], settings: Mapping[str, Any]) -> Union:
    """The answers of journals that were all asked for with `settings`, by one model.

    Raises RunError where they were not, or two answers to one request differ; DataError for a broken journal.
    """
    headers = {journal: _header(journal) for journal in journals}
    _refuse_mixed(headers, settings)
    answers: dict[int, Response] = {}
    origin: dict[int, Path] = {}
    until = max((header["shard"].get("until", 0) for header in headers.values()), default=0)
    for journal in journals:
        found = read_responses(journal)
        if found.follow_ups:
            raise RunError("has answers to follow-ups, and only lists can be united", where=str(journal))
        for request, answer in found.items():
            if request in answers and _said(answers[request]) != _said(answer):
                raise RunError(
                    f"its answer to request {request} is another than that in {origin[request]}",
                    where=str(journal),
                    todo="leave one of the two out: the shard ran twice, on an engine that does not repeat itself",
                )
            answers.setdefault(request, answer)
            origin.setdefault(request, journal)
    counts = {header["shard"].get("of", 0) for header in headers.values()}
    return Union(answers, max(until, max(answers, default=-1) + 1), counts.pop() if len(counts) == 1 else 0)


def _said(answer: Response) -> tuple[object, ...]:
    return answer.text, answer.finish_reason, answer.phase, answer.prompt_sha256, answer.prompt_tokens


def _header(journal: Path) -> dict[str, Any]:
    companion = journal.parent / COMPANION
    if found := read_companion(companion):
        return found
    raise RunError(
        f"there is no {COMPANION} beside this journal, which says what was asked and what answered",
        where=str(journal),
        todo=f"copy the shard's {COMPANION} along with its {JOURNAL}",
    )


def _refuse_mixed(headers: Mapping[Path, Mapping[str, Any]], settings: Mapping[str, Any]) -> None:
    sources: dict[str, tuple[str, Path]] = {}
    for journal, header in headers.items():
        if changes := changed_settings(header["settings"], settings):
            raise RunError(
                f"its answers were requested with other settings than the configuration's: {changes}",
                where=str(journal),
                todo="give the configuration that the shards ran with, or leave this journal out",
            )
        for key, value in header["source"].items():
            first, other = sources.setdefault(key, (value, journal))
            if first != value:
                raise RunError(
                    f"another model or engine gave its answers than those in {other}: {key} is {value}, there {first}",
                    where=str(journal),
                    todo="leave one of the two out",
                )


def _ranges(numbers: Sequence[int]) -> Iterator[str]:
    for _, group in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        first, *rest = [number for _, number in group]
        yield f"{first}–{rest[-1]}" if rest else str(first)


def _some(texts: Sequence[str]) -> str:
    more = f" and {len(texts) - SHOWN} more" if len(texts) > SHOWN else ""
    return ", ".join(texts[:SHOWN]) + more


def _by_number(item: tuple[str, int]) -> int:
    return int(item[0].partition("/")[0])
