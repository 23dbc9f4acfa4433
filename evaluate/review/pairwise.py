"""The pairwise review: every model's answer beside the first model's, blind, as Alpaca's authors compared."""

import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pacos.errors import DataError
from pacos.evaluate.agreement import agree, compare_blind, rate
from pacos.evaluate.judge.answers import JudgedAnswer, read_answers
from pacos.evaluate.review.draw import draw_answers
from pacos.evaluate.review.kinds import (
    ItemAnswers,
    RaterAnswers,
    ReviewChoice,
    ReviewKind,
    ReviewQuestion,
    percent,
)
from pacos.evaluate.review.sheet import Sheet
from pacos.results import extend
from pacos.results.figures import BlindComparison
from pacos.results.review import PublishedReview, ReviewAgreement, ReviewFigures

LEFT, TIE, RIGHT = "left", "tie", "right"
POINTS = {"win": 1.0, TIE: 0.5, "loss": 0.0}

# Alpaca 7B against text-davinci-003, blind (Taori et al. 2023). Published, not measured here.
PUBLISHED_WINS, PUBLISHED_LOSSES = 90, 89


class PairwiseReview(ReviewKind):
    """A rater prefers a side; the verdict is `win`, `tie` or `loss` of the model that is compared with the first."""

    name = "pairwise"
    questions = (
        ReviewQuestion(
            "preference",
            "Which answer is better?",
            (
                ReviewChoice(LEFT, "the first", ("1", "ArrowLeft")),
                ReviewChoice(TIE, "equally good", ("2", "ArrowDown")),
                ReviewChoice(RIGHT, "the second", ("3", "ArrowRight")),
            ),
        ),
    )
    columns = ("left", "right")
    judged_as = "pairwise"

    def draw(self, paths: Sequence[Path], *, n: int, seed: int, suite: Path | None = None) -> Sheet:
        """Draw `n` questions; each pair of answers is an item. Raises DataError for a single model, and as
        `read_answers` and `draw_answers`."""
        answers = read_answers(paths, suite)
        if len(answers.models) < 2:
            raise DataError("a comparison needs two models or more", todo="name the evaluations of two models")
        return draw_answers(self.name, answers, _pairs, n=n, seed=seed)

    def verdicts(self, sheet: Sheet, answers: RaterAnswers) -> RaterAnswers:
        """Turn sides into models: this is the only place where a vote meets the key."""
        return {item: {"preference": _outcome(sheet, item, given["preference"])} for item, given in answers.items()}

    def figures(self, sheet: Sheet, answers: RaterAnswers, verdicts: RaterAnswers) -> ReviewFigures:
        """Compare each model with the first, and count how often the answer shown first was preferred."""
        points: dict[str, list[float]] = {model: [] for model in sheet.models[1:]}
        for item, one in verdicts.items():
            other = next(model for model in sheet.key[item].models if model != sheet.models[0])
            points[other].append(POINTS[one["preference"]])
        sides = Counter(given["preference"] for given in answers.values())
        return ReviewFigures(
            models={model: compare_blind(of_model) for model, of_model in points.items()},
            first_preferred=rate(sides[LEFT], len(answers) - sides[TIE]),
        )

    def agreement(self, one: Sequence[ItemAnswers], other: Sequence[ItemAnswers]) -> ReviewAgreement:
        """Return the agreement on preferences."""
        preferences, others = ([row["preference"] for row in rater] for rater in (one, other))
        return extend(ReviewAgreement, agree(preferences, others))

    def judge_verdict(self, verdicts: Sequence[str]) -> ItemAnswers | None:
        """Return the judge's preference over both orders; orders that disagree are a tie."""
        if len(verdicts) != 2:
            return None
        return {"preference": verdicts[0] if verdicts[0] == verdicts[1] else TIE}

    def published(self) -> PublishedReview:
        """Return Alpaca's own comparison."""
        found = compare_blind([1.0] * PUBLISHED_WINS + [0.0] * PUBLISHED_LOSSES)
        return PublishedReview(models={"Alpaca 7B against text-davinci-003": found})

    def lines(self, figures: ReviewFigures) -> list[str]:
        """Return a line for each model with comparisons."""
        return [
            f"{model}: {row.wins} won, {row.ties} tied, {row.losses} lost; win rate {percent(row.win_rate)}, "
            f"sign test p {row.sign_test_p:.3g}"
            for model, row in figures.models.items()
            if isinstance(row, BlindComparison) and row.n
        ]


def _outcome(sheet: Sheet, item: str, preference: str) -> str:
    if preference == TIE:
        return TIE
    preferred = sheet.key[item].models[0 if preference == LEFT else 1]
    return "loss" if preferred == sheet.models[0] else "win"


def _pairs(group: Sequence[JudgedAnswer], chance: random.Random) -> list[list[JudgedAnswer]]:
    """Every model against the first, sides and order at random."""
    return [chance.sample([group[0], other], 2) for other in chance.sample(group[1:], len(group) - 1)]


PAIRWISE_REVIEW = PairwiseReview()
