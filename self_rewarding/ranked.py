"""`pacos ranked`: splits answers that people have ranked into training data and a held-out set that measures judges.

A row is one answer: `id` of the request, `instruction`, optionally `input`, `output`, and `rank` (0 the best; ranks may
be equal). Open Assistant's messages are read as well (`message_id`, `parent_id`, `text`, `role`, `lang`, `rank`): the
first turn of their English trees, as in Self-Rewarding LMs (Yuan et al. 2401.10020, section 3.1).
"""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pacos.errors import DataError
from pacos.files import read_rows, write_jsonl
from pacos.hub import load_rows
from pacos.records import Task, parse_task

Values = dict[str, Any]
# Where a row is (file and line), and its values.
LocatedRow = tuple[str, Values]

# The author of the answers, where other files name a model.
PEOPLE = "people"


@dataclass(frozen=True, slots=True)
class RankedSplit:
    """How many requests were read, and how many went where."""

    requests: int
    not_ranked_apart: int
    asked_again: int
    learn: int
    held_aside: int


@dataclass(frozen=True, slots=True)
class RankedRequest:
    """A request and its answers, as people ranked them."""

    id: str
    instruction: str
    input: str
    answers: list[tuple[str, int]] = field(default_factory=list)  # (text, rank)

    @property
    def is_ranked(self) -> bool:
        """Whether people rank any of the answers apart."""
        return len({rank for _, rank in self.answers}) > 1

    @property
    def words(self) -> tuple[str, ...]:
        """The request's words, equal for requests that differ in white space and capitals only."""
        return tuple(f"{self.instruction}\n{self.input}".casefold().split())

    @property
    def best(self) -> Task:
        """The request with its best answer."""
        text, _ = min(self.answers, key=lambda answer: answer[1])
        return Task(self.instruction, self.input, text)

    def rows(self) -> Iterator[Values]:
        """Yield the answers as `pacos judge` reads them."""
        for sample, (text, rank) in enumerate(self.answers):
            request = {"id": self.id, "model": PEOPLE, "sample": sample}
            yield {**request, "instruction": self.instruction, "input": self.input, "output": text, "rank": rank}


def split_ranked(source: str, out: Path, *, held_aside: int, seed: int) -> RankedSplit:
    """Write `instructions.jsonl` (the best answer to each training request, in Alpaca's format), `learn.jsonl` and
    `held-aside.jsonl` (answers to be judged), and return the counts.

    Requests whose answers people do not rank apart are left out, and so are duplicates of held-out requests. Raises
    DataError for rows that are not ranked answers, and where either side would be empty; ConfigError, HubOutOfReach as
    `load_rows`.
    """
    requests = read_ranked(source)
    ranked = [request for request in requests if request.is_ranked]
    random.Random(f"{seed}:held aside").shuffle(ranked)
    held_out, others = ranked[:held_aside], ranked[held_aside:]
    words = {request.words for request in held_out}
    learn = [request for request in others if request.words not in words]
    if not held_out or not learn:
        raise DataError(
            f"people rank the answers to {len(ranked):,} of its {len(requests):,} requests apart; with "
            f"{held_aside:,} held out, {len(learn):,} are left to train on",
            where=source,
            todo="hold out fewer (--held-aside, loop.held_aside), or provide more",
        )
    write_jsonl(out / "instructions.jsonl", [request.best for request in learn])
    write_jsonl(out / "learn.jsonl", [row for request in learn for row in request.rows()])
    write_jsonl(out / "held-aside.jsonl", [row for request in held_out for row in request.rows()])
    return RankedSplit(
        requests=len(requests),
        not_ranked_apart=len(requests) - len(ranked),
        asked_again=len(others) - len(learn),
        learn=len(learn),
        held_aside=len(held_out),
    )


def read_ranked(source: str) -> list[RankedRequest]:
    """Return the requests of a `.jsonl` or `.json` file, a folder that `datasets` reads, or a hub id, in order.

    Raises DataError with file and line for a row that is not a ranked answer.
    """
    rows = list(_rows(source))
    if not rows:
        raise DataError("holds no answers", where=source)
    answers = _first_turns(rows) if "message_id" in rows[0][1] else rows
    requests: dict[str, RankedRequest] = {}
    for where, values in answers:
        task = parse_task(values, where=where)
        name = _id(values, where)
        request = requests.setdefault(name, RankedRequest(name, task.instruction, task.input))
        if (request.instruction, request.input) != (task.instruction, task.input):
            raise DataError(
                f"request {name!r} has a different text in an earlier row", where=where, todo="give it another id"
            )
        request.answers.append((task.output, _rank(values, where)))
    return list(requests.values())


def _rows(source: str) -> Iterator[LocatedRow]:
    path = Path(source)
    if path.suffix in (".json", ".jsonl") and not path.is_dir():
        rows: Iterable[tuple[str, Any]] = read_rows(path)
    else:
        found = load_rows(source, where="ranked answers")
        rows = ((f"{source}: row {number}", values) for number, values in enumerate(found, 1))
    for where, values in rows:
        if not isinstance(values, dict):
            raise DataError("an answer is a JSON object", where=where)
        yield where, values


def _first_turns(messages: list[LocatedRow]) -> Iterator[LocatedRow]:
    """Open Assistant's messages as rows of ranked answers."""
    for where, message in messages:
        for key in ("message_id", "text", "role", "lang"):
            if not isinstance(message.get(key), str):
                raise DataError(f"`{key}` must be text" if key in message else f"`{key}` is missing", where=where)
    prompts = {
        message["message_id"]: message["text"]
        for _, message in messages
        if message["role"] == "prompter" and not message.get("parent_id") and message["lang"] == "en"
    }
    for where, message in messages:
        if not isinstance(message.get("parent_id"), str | None):
            raise DataError("`parent_id` must be text or null", where=where)
        prompt = prompts.get(message.get("parent_id"))
        if message["role"] == "assistant" and prompt is not None and message.get("rank") is not None:
            answer = {"id": message["parent_id"], "instruction": prompt, "output": message["text"]}
            yield where, answer | {"rank": message["rank"]}


def _id(values: Values, where: str) -> str:
    name = values.get("id")
    if not isinstance(name, str | int) or name == "":
        raise DataError("`id` must name the request that is answered", where=where)
    return str(name)


def _rank(values: Values, where: str) -> int:
    rank = values.get("rank")
    if type(rank) is not int or rank < 0:
        raise DataError(f"`rank` must be a whole number, 0 for the best answer, not {rank!r}", where=where)
    return rank
