"""When generation stops, and what it has cost so far."""

from enum import StrEnum

from pacos.config import Config
from pacos.engine import price_per_hour
from pacos.generate.journal import Journal
from pacos.generate.pool import RECENT_ITEMS, Tally


class StoppedBy(StrEnum):
    TARGET = "target"
    REQUESTS = "requests"
    TOKENS = "tokens"
    SECONDS = "seconds"
    MONEY = "money"
    MIN_ACCEPTANCE = "min_acceptance"


class Budget:
    """Requests, tokens and acceptance are judged on what is committed, so that they stop every run at the same task.

    Seconds and money follow the clock.
    """

    def __init__(self, config: Config, journal: Journal) -> None:
        self._limits = config.generate.budget
        self._target = config.generate.target
        self._journal = journal
        self._price_per_second = price_per_hour(config) / 3600

    @property
    def cost(self) -> float:
        return self._journal.seconds * self._price_per_second

    def stopped_by(self, tally: Tally) -> StoppedBy | None:
        """The first limit that is reached, or None."""
        limits = self._limits
        if tally.accepted >= self._target:
            return StoppedBy.TARGET
        if limits.requests is not None and tally.requests >= limits.requests:
            return StoppedBy.REQUESTS
        if limits.tokens is not None and tally.tokens >= limits.tokens:
            return StoppedBy.TOKENS
        if len(tally.recent) == RECENT_ITEMS and sum(tally.recent) < limits.min_acceptance * RECENT_ITEMS:
            return StoppedBy.MIN_ACCEPTANCE
        return self._clock()

    def may_ask(self, request: int) -> bool:
        """Whether one more request is within every limit, counting answers that are not committed yet."""
        limits, journal = self._limits, self._journal
        if limits.requests is not None and request >= limits.requests:
            return False
        if limits.tokens is not None and journal.prompt_tokens + journal.completion_tokens >= limits.tokens:
            return False
        return self._clock() is None

    def _clock(self) -> StoppedBy | None:
        if self._limits.seconds is not None and self._journal.seconds >= self._limits.seconds:
            return StoppedBy.SECONDS
        if self._limits.money is not None and self.cost >= self._limits.money:
            return StoppedBy.MONEY
        return None
