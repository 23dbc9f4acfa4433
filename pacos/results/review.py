"""What `pacos review` writes: `review.json`."""

from dataclasses import dataclass, field

from pacos.results.figures import Agreement, BlindComparison, GradeAgreement, Rate
from pacos.results.judging import GradeFigures


@dataclass(frozen=True, slots=True)
class ReviewNote:
    """A rater's note on an item; `item` is the dataset's row or the suite's question."""

    item: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewFigures:
    """Figures of a set of verdicts; a kind of review fills in what it has.

    `rates`: share of tasks with a yes, by question (quality). `models`: grades (rating) or blind comparisons with the
    baseline (pairwise), by model. `first_preferred`: how often the answer shown first wins a decided comparison.
    """

    rates: dict[str, Rate | None] = field(default_factory=dict)
    models: dict[str, GradeFigures | BlindComparison] = field(default_factory=dict)
    first_preferred: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterResults(ReviewFigures):
    """One rater's verdicts; `median_seconds` is per item, None where no times are known."""

    answered: int
    skipped: int
    median_seconds: float | None = None
    notes: list[ReviewNote] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewAgreement(GradeAgreement):
    """Agreement of two raters over the items that both rated; a quality review has one for each of its `questions`."""

    questions: dict[str, Agreement] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RaterPair(ReviewAgreement):
    """Agreement of the raters `one` and `other`."""

    one: str
    other: str


@dataclass(frozen=True, slots=True)
class JudgeAgreement:
    """The run's judge (`kind`, `model`) of the same answers: its agreement with each rater."""

    kind: str
    model: str
    agreement: dict[str, ReviewAgreement]


@dataclass(frozen=True, slots=True)
class PublishedAgreement:
    """Agreement of two experts, as published."""

    kappa: float
    kappa_binary: float
    spearman: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedReview(ReviewFigures):
    """The papers' figures, of their own tasks and raters; `n` is their number of tasks, 0 where `models` has it."""

    n: int = 0
    agreement: PublishedAgreement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewResults:
    """`review.json`: a sample of `items` of a `population` of tasks, judged by people.

    Raters are never pooled: each has figures of their own, and each two their agreement. `baseline` is the model that
    the others are compared with, "" where there is none.
    """

    kind: str
    name: str
    n: int
    seed: int
    population: int
    items: int
    baseline: str
    raters: dict[str, RaterResults]
    agreement: list[RaterPair]
    judge: JudgeAgreement | None
    published: PublishedReview

    def __post_init__(self) -> None:
        """Raise ValueError where figures are not of this kind of review, or an agreement on items has no rate."""
        kind = {"rating": GradeFigures, "pairwise": BlindComparison}.get(self.kind)
        for name, figures in {**self.raters, "published": self.published}.items():
            if kind and not all(isinstance(found, kind) for found in figures.models.values()):
                raise ValueError(f"the figures of {name!r} are not those of a {self.kind} review")
        for row in (*self.agreement, *(self.judge.agreement.values() if self.judge else ())):
            if row.n and row.agreement is None and not row.questions:
                raise ValueError("an agreement on items has no rate")
