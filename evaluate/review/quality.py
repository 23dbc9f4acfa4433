"""The quality review: three yes/no questions about each generated task (Wang et al. 2212.10560, section 3.3)."""

from collections.abc import Sequence
from pathlib import Path

from pacos.evaluate.agreement import agree, rate
from pacos.evaluate.review.draw import draw_tasks
from pacos.evaluate.review.kinds import (
    ItemAnswers,
    RaterAnswers,
    ReviewChoice,
    ReviewKind,
    ReviewQuestion,
    coefficient,
    percent,
)
from pacos.evaluate.review.sheet import Sheet
from pacos.results.review import PublishedReview, ReviewAgreement, ReviewFigures

YES, NO = "yes", "no"
_YES_NO = (ReviewChoice(YES, "yes", ("y",)), ReviewChoice(NO, "no", ("n",)))

# Of 200 tasks (table 2). Published, not measured here; `all` is 54 % in the text.
PUBLISHED_YES = {"task": 184, "input": 158, "output": 116, "all": 108}
PUBLISHED_TASKS = 200


class QualityReview(ReviewKind):
    """Self-Instruct's questions, in our words. A verdict has a fourth, `all`: yes to every question."""

    name = "quality"
    questions = (
        ReviewQuestion("task", "Is it a valid task?", _YES_NO),
        ReviewQuestion("input", "Does the input fit it (or is it rightly left out)?", _YES_NO),
        ReviewQuestion("output", "Is the output a correct and acceptable answer?", _YES_NO),
    )
    columns = ("output",)

    def draw(self, paths: Sequence[Path], *, n: int, seed: int, suite: Path | None = None) -> Sheet:
        """Draw `n` tasks of Alpaca-format datasets. Raises DataError where there are none."""
        return draw_tasks(self.name, paths, n=n, seed=seed)

    def verdicts(self, sheet: Sheet, answers: RaterAnswers) -> RaterAnswers:
        """Add `all` to each item's answers."""
        return {item: {**given, "all": YES if set(given.values()) == {YES} else NO} for item, given in answers.items()}

    def figures(self, sheet: Sheet, answers: RaterAnswers, verdicts: RaterAnswers) -> ReviewFigures:
        """Return the share of yes by question."""
        counts = {name: sum(one[name] == YES for one in verdicts.values()) for name in PUBLISHED_YES}
        return ReviewFigures(rates={name: rate(yes, len(verdicts)) for name, yes in counts.items()})

    def agreement(self, one: Sequence[ItemAnswers], other: Sequence[ItemAnswers]) -> ReviewAgreement:
        """Return the agreement by question."""
        questions = {name: agree([row[name] for row in one], [row[name] for row in other]) for name in PUBLISHED_YES}
        return ReviewAgreement(n=len(one), questions=questions)

    def published(self) -> PublishedReview:
        """Return Self-Instruct's own review."""
        rates = {name: rate(yes, PUBLISHED_TASKS) for name, yes in PUBLISHED_YES.items()}
        return PublishedReview(n=PUBLISHED_TASKS, rates=rates)

    def lines(self, figures: ReviewFigures) -> list[str]:
        """Return one line with all rates."""
        return [", ".join(f"{name} {percent(share)}" for name, share in figures.rates.items())]

    def agreement_line(self, row: ReviewAgreement) -> str:
        """Return the kappa of each question."""
        kappas = ", ".join(f"{name} {coefficient(one.kappa)}" for name, one in row.questions.items())
        return f"{row.n} items, kappa: {kappas}"


QUALITY = QualityReview()
