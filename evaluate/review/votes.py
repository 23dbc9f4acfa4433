"""Votes: an append-only file of what raters did, synced to disk line by line, and each rater's state from it.

Nothing is ever removed from `votes.jsonl`: an undo is a line of its own. A rater's position follows from the lines, so
a closed browser, a restart or kill -9 loses nothing that the page has shown as done.
"""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.review.kinds import ReviewQuestion, review_kind
from pacos.evaluate.review.sheet import Sheet, SheetItem
from pacos.files import JsonlWriter, make_folder, read_jsonl
from pacos.records import parse_record
from pacos.runs import locked

SKIP, UNDO, NOTE = "skip", "undo", "note"
LONGEST_NAME = 40
LONGEST_NOTE = 2000


@dataclass(frozen=True, slots=True)
class Vote:
    """A line of `votes.jsonl`.

    `answer` is a choice, or `skip`, `undo`, `note` with `question` "". `seconds` is the time on screen, 0 where it is
    not known.
    """

    at: str
    rater: str
    item: str
    question: str
    answer: str
    note: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Ballot:
    """One rater's state after all votes: answers by item and question, skipped items, notes, seconds by item."""

    given: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    skipped: set[str] = field(default_factory=set)
    notes: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    history: list[Vote] = field(default_factory=list)

    def apply(self, vote: Vote) -> None:
        """Add a vote that `check_vote` has allowed."""
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

    def next_question(self, item: SheetItem, questions: Sequence[ReviewQuestion]) -> int | None:
        """Return the index of the item's open question; None where it is done or skipped."""
        answered = len(self.given[item.id]) if item.id in self.given else 0
        return None if item.id in self.skipped or answered == len(questions) else answered

    def complete(self, questions: Sequence[ReviewQuestion]) -> dict[str, dict[str, str]]:
        """Return the answers of every item whose questions are all answered."""
        return {item: given for item, given in self.given.items() if len(given) == len(questions)}


class VoteRefused(DataError):
    """A vote that the sheet or the rater's earlier votes do not allow."""


class Votes:
    """The votes of one review, open for more. Only one process may hold them (see `review_lock`)."""

    def __init__(self, path: Path, sheet: Sheet) -> None:
        self.sheet = sheet
        self.questions = review_kind(sheet.kind).questions
        self._items = {item.id: item for item in sheet.items}
        self._ballots = read_ballots(path, sheet) if path.is_file() else {}
        self._file = JsonlWriter(path, sync=True)
        self.lock = threading.Lock()

    def ballot(self, rater: str) -> Ballot:
        """Return the rater's ballot, an empty one for a new rater."""
        return self._ballots.get(rater) or Ballot()

    def open_item(self, rater: str) -> tuple[SheetItem, int] | None:
        """Return the first item that the rater has neither answered nor skipped, and its open question."""
        ballot = self.ballot(rater)
        for item in self.sheet.items:
            if (question := ballot.next_question(item, self.questions)) is not None:
                return item, question
        return None

    def cast(self, rater: str, item: str, question: str, answer: str, *, note: str = "", seconds: float = 0.0) -> None:
        """Store a vote; on return it is on disk. Raises VoteRefused (nothing is stored then), RunError (disk full)."""
        with self.lock:
            at = datetime.now(UTC).isoformat(timespec="seconds")
            vote = Vote(at, rater, item, question, answer, note, round(seconds, 2))
            ballot = self.ballot(rater)
            check_vote(vote, self._items, ballot, self.questions)
            self._file.write(vote)
            ballot.apply(vote)
            self._ballots[rater] = ballot

    def close(self) -> None:
        """Close the file; no vote can be cast any more."""
        self._file.close()


def review_lock(folder: Path) -> contextlib.AbstractContextManager[None]:
    """Hold the review's votes. Raises RunError where another process does."""
    make_folder(folder)
    return locked(
        folder / ".lock",
        "this review is open already",
        todo="a second rater opens the same address under another name; or stop the other process",
    )


def check_vote(vote: Vote, items: Mapping[str, SheetItem], ballot: Ballot, questions: Sequence[ReviewQuestion]) -> None:
    """Raise VoteRefused for a vote that the sheet or the rater's earlier votes do not allow."""
    if not (vote.rater == vote.rater.strip() and vote.rater.isprintable() and 0 < len(vote.rater) <= LONGEST_NAME):
        raise VoteRefused(f"a rater's name has 1 to {LONGEST_NAME} printable characters")
    if vote.answer == UNDO:
        if not ballot.history:
            raise VoteRefused("there is nothing to undo")
        return
    if vote.item not in items:
        raise VoteRefused(f"there is no item {vote.item!r}")
    if vote.answer == NOTE:
        if len(vote.note) > LONGEST_NOTE:
            raise VoteRefused(f"a note has at most {LONGEST_NOTE:,} characters")
        return
    open_question = ballot.next_question(items[vote.item], questions)
    if open_question is None:
        raise VoteRefused(f"{vote.rater!r} has voted on item {vote.item} already")
    if vote.answer == SKIP:
        return
    question = questions[open_question]
    if vote.question != question.name or vote.answer not in question.answers:
        raise VoteRefused(f"{vote.answer!r} is not an answer to {question.name!r}")


def read_ballots(path: Path, sheet: Sheet) -> dict[str, Ballot]:
    """Return every rater's ballot; an unfinished last line is left out.

    Raises DataError with the line of a vote that is not valid on this sheet.
    """
    items, questions = {item.id: item for item in sheet.items}, review_kind(sheet.kind).questions
    ballots: dict[str, Ballot] = {}
    for line, values in read_jsonl(path, torn_tail=True):
        try:
            vote = parse_record(values, Vote, where="")
            ballot = ballots.setdefault(vote.rater, Ballot())
            check_vote(vote, items, ballot, questions)
        except DataError as broken:
            raise DataError(f"not a vote on this sheet: {broken.what}", where=f"{path}:{line}") from None
        ballot.apply(vote)
    return ballots
