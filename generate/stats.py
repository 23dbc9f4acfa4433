"""Counts kept while a dataset is made, and the statistics in `stats.json`."""

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from pacos.records import Response, Task
from pacos.results.dataset import (
    DatasetCost,
    DatasetStats,
    Funnel,
    NearestScores,
    TaskLengths,
    TokenCounts,
    WordCounts,
)
from pacos.words import word_count

HISTOGRAM_BINS = 10

# The acceptance rate that a run may stop for is that of this many last items.
RECENT_ITEMS = 2000


@dataclass
class Tally:
    """Counts behind the yield funnel, and the figures of the accepted tasks that the statistics need.

    `instructions` and `accepted` are equal where an item is a whole task. With follow-ups an instruction has
    `instances`, some of which are accepted, and `classification` counts the answers to whether it is classification.
    """

    requests: int = 0
    items: int = 0
    parsed: int = 0
    instructions: int = 0
    instances: int = 0
    accepted: int = 0
    classification: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    words: dict[str, "array[int]"] = field(
        default_factory=lambda: {part: array("I") for part in ("instruction", "input", "output")}
    )
    nearest: "array[float]" = field(default_factory=lambda: array("d"))
    unicode_texts: int = 0
    sampled: int = 0
    recent: deque[bool] = field(default_factory=lambda: deque(maxlen=RECENT_ITEMS))

    def count_answers(self, answers: Sequence[Response]) -> None:
        """Count requests that are committed, and their tokens."""
        self.requests += len(answers)
        self.tokens += sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)

    def count_task(self, task: Task) -> None:
        """Count an accepted task."""
        self.accepted += 1
        for part, lengths in self.words.items():
            lengths.append(word_count(getattr(task, part)))


@dataclass(frozen=True, slots=True)
class EngineUsage:
    """All answers that came, committed or not, and what they took."""

    answered: int = 0
    tokens: TokenCounts = field(default_factory=TokenCounts)
    seconds: float = 0.0
    cost: float = 0.0


def token_counts(answers: Iterable[Response]) -> TokenCounts:
    """The sum of the answers' tokens."""
    pairs = [(answer.prompt_tokens, answer.completion_tokens) for answer in answers]
    return TokenCounts(sum(prompt for prompt, _ in pairs), sum(completion for _, completion in pairs))


def dataset_stats(tally: Tally, stopped_by: str, usage: EngineUsage = EngineUsage()) -> DatasetStats:
    """The statistics of a dataset; 0 where there is nothing to count."""
    generated = usage.tokens.completion
    return DatasetStats(
        funnel=Funnel(
            answered=usage.answered,
            requests=tally.requests,
            items=tally.items,
            parsed=tally.parsed,
            instructions=tally.instructions,
            instances=tally.instances,
            accepted=tally.accepted,
            rejected={str(reason): count for reason, count in tally.rejected.most_common()},
        ),
        tokens=usage.tokens,
        seconds=round(usage.seconds, 3),
        tokens_per_second=round(generated / usage.seconds, 1) if usage.seconds else 0.0,
        cost=DatasetCost(
            total=round(usage.cost, 4),
            per_1000=round(1000 * usage.cost / tally.accepted, 4) if tally.accepted else 0.0,
        ),
        stopped_by=stopped_by,
        classification={kind: tally.classification[kind] for kind in ("yes", "no", "unknown")},
        lengths=TaskLengths(
            instruction=word_counts(tally.words["instruction"]),
            input=word_counts([length for length in tally.words["input"] if length]),
            output=word_counts(tally.words["output"]),
            with_input=sum(length > 0 for length in tally.words["input"]),
        ),
        novelty=NearestScores(
            round(mean_or_zero(tally.nearest), 6), score_histogram(tally.nearest), tally.unicode_texts, tally.sampled
        ),
    )


def word_counts(lengths: Sequence[int]) -> WordCounts:
    """Mean, median, 95th percentile and maximum of lengths in words."""
    ranked = sorted(lengths)
    return WordCounts(
        mean=round(mean_or_zero(lengths), 2),
        median=_nearest_rank(ranked, 50),
        p95=_nearest_rank(ranked, 95),
        max=max(lengths, default=0),
    )


def score_histogram(scores: Sequence[float]) -> list[int]:
    """Counts in ten bins of 0.1 from 0 to 1."""
    bins = [0] * HISTOGRAM_BINS
    for score in scores:
        bins[min(int(score * HISTOGRAM_BINS), HISTOGRAM_BINS - 1)] += 1
    return bins


def mean_or_zero(values: Sequence[float]) -> float:
    """The arithmetic mean; 0 of no values."""
    return sum(values) / len(values) if values else 0.0


def _nearest_rank(ranked: Sequence[int], percent: int) -> int:
    return ranked[-(-len(ranked) * percent // 100) - 1] if ranked else 0
