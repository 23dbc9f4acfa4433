"""What self-rewarding writes: `rounds.json`, `pairs/stats.json` and `loop.json`."""

from dataclasses import dataclass, field

from pacos.results.comparison import AdjustedDifference
from pacos.results.judging import PairwiseFigures, Ranking


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step that `loop.json` has as done: the hash of what determines it, its seconds, and its base's fingerprint
    ("" where it was unknown)."""

    sha256: str
    seconds: float
    base_sha256: str = ""


@dataclass(frozen=True, slots=True)
class ScoreMargin:
    """Points between chosen and rejected: the mean, and {rounded margin: pairs}."""

    mean: float
    counts: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AnswerLengths:
    """Mean words of all answers, of the chosen and of the rejected."""

    answers: float
    chosen: float
    rejected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairStats:
    """`pairs/stats.json`: `cut` answers reached their token limit; `dropped` counts tasks without a pair, by reason.

    `share_of_ties` is of the tasks with two texts to compare; `score` is the mean over scored answers (0–5).
    """

    tasks: int
    answers: int
    cut: int
    scored: int
    pairs: int
    dropped: dict[str, int]
    share_of_ties: float
    margin: ScoreMargin
    score: float
    words: AnswerLengths
    judgements: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class SuiteScores:
    """A model on a suite; `against_base` has the paired difference by metric, clustered by task."""

    rougeL: float
    exact_match: float
    against_base: dict[str, AdjustedDifference]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundModel:
    """M1, M2, …: its scores by suite, mean words of an answer, figures as a judge, and comparisons with others."""

    name: str
    suites: dict[str, SuiteScores] = field(default_factory=dict)
    words: float | None = None
    ranking: Ranking | None = None
    against: dict[str, PairwiseFigures] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RoundPrompts:
    """New tasks of a round; `nearest` is the mean ROUGE-L to the nearest seed, earlier or own task."""

    items: int
    accepted: int
    not_novel: int
    nearest: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round's tasks and pairs; None for what it has not reached."""

    round: int
    prompts: RoundPrompts | None
    pairs: PairStats | None


@dataclass(frozen=True, slots=True)
class PublishedRound:
    """A published model; `against` has {other: [wins, losses]} in per cent."""

    name: str
    alpaca_eval: float | None = None
    length: int | None = None
    pairs: int | None = None
    against: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rounds:
    """`rounds.json`: all that the loop has measured so far, what has gone wrong (`alarms`), and which figures say
    nothing (`cautions`)."""

    models: list[RoundModel]
    rounds: list[Round]
    published: list[PublishedRound]
    alarms: list[str]
    cautions: list[str] = field(default_factory=list)
