"""Defines a kind of review: what raters are shown and asked, and how their verdicts are summarised.

A kind is one object in a file of its own (quality.py, rating.py, pairwise.py), listed in extensions.REVIEW_KINDS.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pacos.evaluate.review.sheet import Sheet
from pacos.extensions import REVIEW_KINDS, load
from pacos.results.figures import Rate
from pacos.results.review import PublishedReview, ReviewAgreement, ReviewFigures

# A rater's answers to the questions about one item, or the verdict that they amount to: {question: answer}.
ItemAnswers = Mapping[str, str]
# One rater's, by item.
RaterAnswers = Mapping[str, ItemAnswers]


@dataclass(frozen=True, slots=True)
class ReviewChoice:
    """An answer and its button; `keys` are as in `KeyboardEvent.key`, and the first is shown on the button."""

    answer: str
    label: str
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReviewQuestion:
    """A question about every item."""

    name: str
    text: str
    choices: tuple[ReviewChoice, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        """The answers that it can be given."""
        return tuple(choice.answer for choice in self.choices)


class ReviewKind(ABC):
    """A way to have people judge. `columns` names an item's answers in a spreadsheet.

    `judged_as` is the kind of judge whose verdicts can be compared with people's, "" where there is none.
    """

    name: str
    questions: tuple[ReviewQuestion, ...]
    columns: tuple[str, ...]
    judged_as: str = ""

    @abstractmethod
    def draw(self, paths: Sequence[Path], *, n: int, seed: int, suite: Path | None = None) -> Sheet:
        """Draw a sheet of `n` tasks or questions. Raises DataError for sources that do not make one."""

    def verdicts(self, sheet: Sheet, answers: RaterAnswers) -> RaterAnswers:
        """Return what a rater's complete answers say about the tasks or models."""
        return answers

    @abstractmethod
    def figures(self, sheet: Sheet, answers: RaterAnswers, verdicts: RaterAnswers) -> ReviewFigures:
        """Return one rater's figures."""

    @abstractmethod
    def agreement(self, one: Sequence[ItemAnswers], other: Sequence[ItemAnswers]) -> ReviewAgreement:
        """Return the agreement of two raters' verdicts on the same items."""

    def judge_verdict(self, verdicts: Sequence[str]) -> ItemAnswers | None:
        """Return the judge's verdict on an item from its readable judgements; None where it has none."""
        return None

    @abstractmethod
    def published(self) -> PublishedReview:
        """Return the papers' figures, of their own tasks and raters."""

    @abstractmethod
    def lines(self, figures: ReviewFigures) -> list[str]:
        """Return figures as lines for the terminal."""

    def agreement_line(self, row: ReviewAgreement) -> str:
        """Return an agreement over at least one item, for the terminal."""
        return f"{row.n} items, the same in {percent(row.agreement)}, kappa {coefficient(row.kappa)}"


def review_kind(name: str) -> ReviewKind:
    """Return the kind of review of that name (extensions.REVIEW_KINDS). Raises KeyError for an unknown one."""
    found: ReviewKind = load(REVIEW_KINDS, name)
    return found


def coefficient(value: float | None) -> str:
    """Return a coefficient of agreement with two decimals."""
    return "undefined" if value is None else f"{value:.2f}"


def percent(rate: Rate | None) -> str:
    """Return a rate with its interval."""
    return "none" if rate is None else str(rate)
