"""Votes: an append-only file of what raters did, synced to the disk line by line, and what it comes to.

Nothing is ever taken out of `votes.jsonl`: an undo is a line of its own. A rater's place is what the lines say, so a
closed browser, a restart or kill -9 loses nothing that the page has shown as done.
"""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.review.questions import QUESTIONS, Question
from pacos.evaluate.review.sheet import Item, Sheet
from pacos.records import JsonlWriter, read_jsonl

SKIP, UNDO, NOTE = "skip", "undo", "note"
LONGEST_NAME = 40
LONGEST_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Vote:
    """A line of `votes.jsonl`. `answer` is a choice, or `skip`, `undo`, `note` with `question` "". `seconds` is how
    long the rater had it on screen, 0 where that is not known."""

    at: str
    rater: str
    item: str
    question: str
    answer: str
    note: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Ballot:
    """What one rater's votes come to."""

    given: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    skipped: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    history: list[Vote] = field(default_factory=list)

    def take(self, vote: Vote) -> None:
        if vote.answer == NOTE:
            self.notes[vote.item] = vote.note
            return
        if vote.answer == UNDO:
            vote, sign = self.history.pop(), -1
        else:
            self.history.append(vote)
            sign = 1
        self.seconds[vote.item] += sign * vote.seconds
        if vote.answer == SKIP:
            (self.skipped.add if sign > 0 else self.skipped.discard)(vote.item)
        elif sign > 0:
            self.given[vote.item][vote.question] = vote.answer
        else:
            del self.given[vote.item][vote.question]

    def next_question(self, item: Item, questions: Sequence[Question]) -> int | None:
        """Which question of the item is open; None where it is done or skipped."""
        answered = len(self.given[item.id]) if item.id in self.given else 0
        return None if item.id in self.skipped or answered == len(questions) else answered

    def complete(self, questions: Sequence[Question]) -> dict[str, dict[str, str]]:
        """The answers of every item that was answered whole."""
        return {item: given for item, given in self.given.items() if len(given) == len(questions)}


class Refused(DataError):
    """A vote that the sheet or the rater's earlier votes do not allow."""


class Votes:
    """The votes of one review, open for more. Only one process may hold them (server.py locks the folder)."""

    def __init__(self, path: Path, sheet: Sheet) -> None:
        self.sheet = sheet
        self.questions = QUESTIONS[sheet.kind]
        self._items = {item.id: item for item in sheet.items}
        self._ballots = read_ballots(path, sheet) if path.is_file() else {}
        self._file = JsonlWriter(path, sync=True)
        self.lock = threading.Lock()

    def ballot(self, rater: str) -> Ballot:
        return self._ballots.get(rater) or Ballot()

    def open_item(self, rater: str) -> tuple[Item, int] | None:
        """The first item that the rater has neither answered nor skipped, and its open question."""
        ballot = self.ballot(rater)
        for item in self.sheet.items:
            if (question := ballot.next_question(item, self.questions)) is not None:
                return item, question
        return None

    def cast(self, rater: str, item: str, question: str, answer: str, *, note: str = "", seconds: float = 0.0) -> None:
        """On return the vote is on the disk. Raises Refused (no vote is kept then), RunError (the disk is full)."""
        with self.lock:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            vote = Vote(at, rater, item, question, answer, note, round(seconds, 2))
            ballot = self.ballot(rater)
            check(vote, self._items, ballot, self.questions)
            self._file.write(vote)
            ballot.take(vote)
            self._ballots[rater] = ballot

    def close(self) -> None:
        self._file.close()


def check(vote: Vote, items: Mapping[str, Item], ballot: Ballot, questions: Sequence[Question]) -> None:
    """Raises Refused."""
    if not (vote.rater == vote.rater.strip() and vote.rater.isprintable() and 0 < len(vote.rater) <= LONGEST_NAME):
        raise Refused(f"a rater's name has 1 to {LONGEST_NAME} printable characters")
    if vote.answer == UNDO:
        if not ballot.history:
            raise Refused("there is nothing to undo")
        return
    if vote.item not in items:
        raise Refused(f"there is no item {vote.item!r}")
    if vote.answer == NOTE:
        if len(vote.note) > LONGEST_NOTE:
            raise Refused(f"a note has at most {LONGEST_NOTE:,} characters")
        return
    open_question = ballot.next_question(items[vote.item], questions)
    if open_question is None:
        raise Refused(f"{vote.rater!r} has voted on item {vote.item} already")
    if vote.answer == SKIP:
        return
    question = questions[open_question]
    if vote.question != question.name or vote.answer not in question.answers:
        raise Refused(f"{vote.answer!r} is no answer to {question.name!r}")


def read_ballots(path: Path, sheet: Sheet) -> dict[str, Ballot]:
    """Every rater's ballot; an unfinished last line is left out. Raises DataError with the line of a vote that
    cannot be one."""
    items, questions = {item.id: item for item in sheet.items}, QUESTIONS[sheet.kind]
    ballots: dict[str, Ballot] = {}
    for line, values in read_jsonl(path, torn_tail=True):
        try:
            vote = Vote(**values)
            ballot = ballots.setdefault(vote.rater, Ballot())
            check(vote, items, ballot, questions)
        except (TypeError, AttributeError, DataError) as broken:
            raise DataError(f"not a vote on this sheet: {broken}", where=f"{path}:{line}") from None
        ballot.take(vote)
    return ballots
