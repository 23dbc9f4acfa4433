"""The rating review: answers of all models, one at a time and unnamed, graded A to D (Wang et al. 2212.10560)."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pacos.evaluate.judge.answers import JudgedAnswer, read_answers
from pacos.evaluate.judge.grades import GRADES, grade_agreement, grade_figures, published_grades
from pacos.evaluate.review.draw import draw_answers
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
from pacos.results import extend
from pacos.results.judging import GradeFigures
from pacos.results.review import PublishedAgreement, PublishedReview, ReviewAgreement, ReviewFigures

_LEVELS = ("valid and satisfying", "small errors", "seriously wrong", "of no use")

# Between two experts (section 4.4 and appendix B). Published, not measured here.
PUBLISHED_AGREEMENT = PublishedAgreement(kappa=0.58, kappa_binary=0.75, spearman=0.81)


class RatingReview(ReviewKind):
    """The four levels of section 4.4, in our words."""

    name = "rating"
    questions = (
        ReviewQuestion(
            "grade",
            "How good is the answer?",
            tuple(
                ReviewChoice(grade, level, (grade.lower(), str(number)))
                for number, (grade, level) in enumerate(zip(GRADES, _LEVELS, strict=True), 1)
            ),
        ),
    )
    columns = ("answer",)
    judged_as = "rubric"

    def draw(self, paths: Sequence[Path], *, n: int, seed: int, suite: Path | None = None) -> Sheet:
        """Draw `n` questions; each model's answer is an item. Raises DataError as `read_answers` and
        `draw_answers`."""
        return draw_answers(self.name, read_answers(paths, suite), _one_by_one, n=n, seed=seed)

    def figures(self, sheet: Sheet, answers: RaterAnswers, verdicts: RaterAnswers) -> ReviewFigures:
        """Return the grades by model."""
        counts: dict[str, Counter[str]] = {model: Counter() for model in sheet.models}
        for item, one in verdicts.items():
            counts[sheet.key[item].models[0]][one["grade"]] += 1
        return ReviewFigures(
            models={model: grade_figures({grade: of[grade] for grade in GRADES}) for model, of in counts.items()}
        )

    def agreement(self, one: Sequence[ItemAnswers], other: Sequence[ItemAnswers]) -> ReviewAgreement:
        """Return the agreement on grades."""
        grades, others = ([row["grade"] for row in rater] for rater in (one, other))
        return extend(ReviewAgreement, grade_agreement(grades, others))

    def judge_verdict(self, verdicts: Sequence[str]) -> ItemAnswers | None:
        """Return the judge's grade."""
        return {"grade": verdicts[0]} if verdicts else None

    def published(self) -> PublishedReview:
        """Return Self-Instruct's experts' grades and agreement."""
        return PublishedReview(models={**published_grades()}, agreement=PUBLISHED_AGREEMENT)

    def lines(self, figures: ReviewFigures) -> list[str]:
        """Return a line for each model."""
        return [
            f"{model}: {' '.join(f'{grade} {count}' for grade, count in row.counts.items())}; "
            f"A or B {percent(row.A_or_B)}"
            for model, row in figures.models.items()
            if isinstance(row, GradeFigures)
        ]

    def agreement_line(self, row: ReviewAgreement) -> str:
        """Return the agreement with both kappas and Spearman's correlation."""
        more = f", A or B {coefficient(row.kappa_binary)}, Spearman {coefficient(row.spearman)}"
        return super().agreement_line(row) + more


def _one_by_one(group: Sequence[JudgedAnswer], chance: random.Random) -> list[list[JudgedAnswer]]:
    return [[answer] for answer in chance.sample(group, len(group))]


RATING = RatingReview()
