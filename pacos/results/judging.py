"""What `pacos judge` and `pacos judging` write: `judge.json`, `results.json` and the `stats.json` of judging rows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pacos.results.figures import BlindComparison, GradeAgreement, Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """`judge.json`: everything that determines a judgement, except the answer that is judged."""

    kind: str = ""
    model: str
    model_sha256: str = ""
    dtype: str = ""
    adapter: str = ""
    adapter_sha256: str = ""
    template: str = ""
    prompt_sha256: str = ""
    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeResults:
    """`results.json`: what every kind of judge reports. A kind adds its figures by model (`models`) in a subclass.

    `n` counts judgements. Unreadable ones are counted and never scored; `truncated` prompts were too long for the
    judge. `baseline` is the model that the others are compared with, "" where there is none.
    """

    suite: str = ""
    judge: JudgeSettings
    kind: str
    n: int
    unreadable: int
    truncated: int
    baseline: str = ""
    models: Mapping[str, Any]

    @property
    def is_checked(self) -> bool:
        """Whether the results themselves compare the judge with people."""
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFigures:
    """Grades A to D of one model's answers. `A` and `A_or_B` are Wilson intervals, None where nothing was graded."""

    counts: dict[str, int]
    n: int
    A: Rate | None = None
    A_or_B: Rate | None = None

    def __post_init__(self) -> None:
        """Raise ValueError where a grade has no count."""
        if lacking := [grade for grade in "ABCD" if grade not in self.counts]:
            raise ValueError(f"`counts` has no {lacking[0]}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricFigures(GradeFigures):
    """A rubric judge's grades of one model; `unreadable` judgements are not in `n`."""

    unreadable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RubricResults(JudgeResults):
    """Grades by model. `published` is filled in for Self-Instruct's 252 user-oriented instructions only."""

    models: dict[str, RubricFigures]
    published: dict[str, GradeFigures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseFigures(BlindComparison):
    """A model against the baseline. An item counts where both orders could be read; the others are `dropped`.

    `position_consistency` is the share of items whose two orders agree, `first_preferred` how often the answer shown
    first wins a decided judgement: far from half, the judge follows the order.
    """

    dropped: int = 0
    position_consistency: Rate | None = None
    first_preferred: Rate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairwiseResults(JudgeResults):
    """Blind comparisons with `baseline`, by model."""

    models: dict[str, PairwiseFigures]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveFigures:
    """Additive scores (0–5) of one model: the mean over `n` answers, each the mean of its readable scores.

    Answers without a readable score are `dropped`. `counts` and `unreadable` count judgements.
    """

    mean: float | None
    n: int
    dropped: int
    unreadable: int = 0
    counts: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRanking:
    """A judge's published figures against people's ranking; rates in per cent."""

    pairwise_accuracy: float
    five_best: float
    exact_match: float
    spearman: float
    kendall: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """A judge's scores against people's ranking of the same answers; rates in per cent, clustered by request.

    `pairwise_accuracy` is over `pairs` that people rank apart; those that the judge scores alike (`tied_pairs`, in per
    cent) count ½. `five_best` is the share of the `fives` answers with the full score that people rank first.
    `exact_match` is the share of the `ordered_whole` requests, whose answers all have a score, that judge and people
    order alike. `spearman` and `kendall` are means over requests. None: nothing to count.
    """

    requests: int = 0
    requests_left_out: int = 0
    answers: int = 0
    unreadable: int = 0
    pairs: int = 0
    tied_pairs: float | None = None
    pairwise_accuracy: Rate | None = None
    fives: int = 0
    five_best: Rate | None = None
    ordered_whole: int = 0
    exact_match: Rate | None = None
    spearman: float | None = None
    kendall: float | None = None
    one_score_for_all: int = 0
    published: dict[str, PublishedRanking] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditiveResults(JudgeResults):
    """Scores by model, and how well they follow people's ranking where people have ranked the answers."""

    models: dict[str, AdditiveFigures]
    ranking: Ranking | None = None

    @property
    def is_checked(self) -> bool:
        """Whether people have ranked the answers, so that `ranking` measures the judge."""
        return self.ranking is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class GradeFileAgreement(GradeAgreement):
    """`pacos agreement`: two raters' files of grades, and the answers that only one of them grades."""

    only_first: int
    only_second: int


@dataclass(frozen=True, slots=True)
class JudgementSetCounts:
    """Sets of judgements (one repeat's of one request): agreeing with people, not agreeing, or without all scores."""

    kept: int
    disagreeing: int
    incomplete: int


@dataclass(frozen=True, slots=True)
class RowsByScore:
    """{score: rows} of the judgements that agree with people, and of those that were written after thinning."""

    agreeing: dict[str, int]
    written: dict[str, int]


@dataclass(frozen=True, slots=True)
class JudgingStats:
    """`stats.json` of `pacos judging`."""

    judgements: int
    unreadable: int
    truncated: int
    sets: JudgementSetCounts
    rows_by_score: RowsByScore
